"""Who signed an action, with the official SDK as the signer and as the reference."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import msgpack
import msgspec
import pytest
from eth_account import Account
from eth_keys.constants import SECPK1_N
from hyperliquid.exchange import Exchange
from hyperliquid.utils import signing as sdk
from hyperliquid.utils.constants import MAINNET_API_URL, TESTNET_API_URL
from hyperliquid.utils.types import Cloid
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.api.orders.signing import (
    Signature,
    SignedAction,
    action_hash,
    decode_signed,
    is_user_signed,
    parse_address,
    recover_signer,
)
from sidecar.errors import PeerError, RequestInvalid, SignatureInvalid
from sidecar.limits import REQUEST_BODY_BYTES_MAX

WALLET = Account.from_key("0x" + "0123456789" * 6 + "0123")
SIGNER = bytes.fromhex(WALLET.address[2:])
VAULT = "0x1719884EB866cb12b2287399b15f7db5e7d775eA"
OTHER = "0x5e9ee1089755c3435139848e47e6635505d5a13a"
CLOID = Cloid.from_int(1)
LIMIT = {"limit": {"tif": "Gtc"}}
STOP = {"trigger": {"triggerPx": 90.0, "isMarket": True, "tpsl": "sl"}}
NONCE = 1_700_000_000_000


def request(order_type: Any = LIMIT, **more: Any) -> dict[str, Any]:
    order = {"coin": "BTC", "is_buy": True, "sz": 0.5, "limit_px": 100.0, "reduce_only": False}
    return order | {"order_type": order_type} | more


def exchange(
    *, url: str = TESTNET_API_URL, vault: str | None = None, expires_after: int | None = None
) -> tuple[Any, list[bytes]]:
    """The SDK's client, and what it would post."""
    client = Exchange(
        WALLET,
        base_url=url,
        meta={"universe": [{"name": "BTC", "szDecimals": 5}, {"name": "ETH", "szDecimals": 4}]},
        spot_meta={"universe": [], "tokens": []},
        vault_address=vault,
    )
    client.set_expires_after(expires_after)
    posted: list[bytes] = []
    client.post = lambda path, payload: posted.append(msgspec.json.encode(payload))
    return client, posted


def post(act: Callable[[Any], Any], **options: Any) -> bytes:
    client, posted = exchange(**options)
    act(client)
    (body,) = posted
    return body


def sign(action: dict[str, Any], nonce: int = NONCE, **options: Any) -> SignedAction:
    """An L1 action that no method of the SDK's client sends."""
    vault, expires_after = options.get("vault"), options.get("expires_after")
    made = sdk.sign_l1_action(WALLET, action, vault, nonce, expires_after, False)
    return SignedAction(action, nonce, Signature(**made), vault, expires_after)


L1 = {
    "order": lambda sdk: sdk.order("BTC", True, 0.5, 81307.0, LIMIT),
    "order-cloid": lambda sdk: sdk.order("BTC", True, 0.5, 0.00017, LIMIT, cloid=CLOID),
    "order-reduce": lambda sdk: sdk.order("ETH", False, 2, 1.5, LIMIT, reduce_only=True),
    "order-trigger": lambda sdk: sdk.order("BTC", False, 0.5, 80.0, STOP),
    "order-builder": lambda sdk: sdk.order("BTC", True, 1, 9, LIMIT, builder={"b": VAULT, "f": 10}),
    "order-tpsl": lambda sdk: sdk.bulk_orders(
        [request(), request(STOP, is_buy=False, reduce_only=True)], grouping="normalTpsl"
    ),
    "order-many": lambda sdk: sdk.bulk_orders([request(cloid=CLOID)] * 40),
    "cancel": lambda sdk: sdk.bulk_cancel(
        [{"coin": "BTC", "oid": 1}, {"coin": "ETH", "oid": 1 << 40}]
    ),
    "cancelByCloid": lambda sdk: sdk.cancel_by_cloid("BTC", CLOID),
    "batchModify-oid": lambda sdk: sdk.modify_order(7, "BTC", True, 1, 100, LIMIT, cloid=CLOID),
    "batchModify-cloid": lambda sdk: sdk.modify_order(CLOID, "BTC", True, 1, 100, STOP),
    "scheduleCancel": lambda sdk: sdk.schedule_cancel(NONCE),
    "scheduleCancel-none": lambda sdk: sdk.schedule_cancel(None),
    "updateLeverage": lambda sdk: sdk.update_leverage(20, "ETH", is_cross=False),
    "updateIsolatedMargin": lambda sdk: sdk.update_isolated_margin(-12.5, "ETH"),
    "noop": lambda sdk: sdk.noop(NONCE),
}
USER_SIGNED = {
    "usdSend": lambda sdk: sdk.usd_transfer(1.5, OTHER),
    "usdSend-checksummed": lambda sdk: sdk.usd_transfer(1.5, VAULT),
    "approveAgent-named": lambda sdk: sdk.approve_agent("sniper \N{SNOWMAN}"),
    "approveAgent-unnamed": lambda sdk: sdk.approve_agent(),
}
ALL = L1 | USER_SIGNED
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "vault": {"vault": VAULT},
    "expiry": {"expires_after": NONCE + 5},
    "both": {"vault": VAULT, "expires_after": NONCE + 5},
}


# The SDK signs


@pytest.mark.parametrize("name", ALL)
def test_signer_of_every_action_of_the_sdk(name: str) -> None:
    signed = decode_signed(post(ALL[name]))
    assert signed.action["type"] == name.split("-", maxsplit=1)[0]
    assert recover_signer(signed) == SIGNER


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("name", L1)
def test_vault_and_expiry_are_signed(name: str, options: dict[str, Any]) -> None:
    signed = decode_signed(post(L1[name], **options))
    assert (signed.vault_address, signed.expires_after) == (
        options.get("vault"),
        options.get("expires_after"),
    )
    assert recover_signer(signed) == SIGNER


def test_modify() -> None:
    order = sdk.order_request_to_order_wire(request(cloid=CLOID), 0)
    for oid in (7, CLOID.to_raw()):
        action = {"type": "modify", "oid": oid, "order": order}
        assert recover_signer(sign(action, vault=VAULT)) == SIGNER


@pytest.mark.parametrize("name", L1)
def test_mainnet_signs_as_somebody_else(name: str) -> None:
    assert recover_signer(decode_signed(post(L1[name], url=MAINNET_API_URL))) != SIGNER


@pytest.mark.parametrize("name", USER_SIGNED)
def test_mainnet_is_named_by_user_signed_actions(name: str) -> None:
    with pytest.raises(RequestInvalid, match='hyperliquidChain must be "Testnet"'):
        recover_signer(decode_signed(post(USER_SIGNED[name], url=MAINNET_API_URL)))


@pytest.mark.parametrize("scalar", ["r", "s"])
def test_leading_zeros_of_a_signature_are_dropped(scalar: str) -> None:
    short = next(
        signed
        for signed in (sign({"type": "noop"}, nonce) for nonce in count())
        if len(getattr(signed.signature, scalar)) <= len("0x") + 62
    )
    assert recover_signer(short) == SIGNER
    padded = "0x" + getattr(short.signature, scalar)[2:].rjust(64, "0")
    long = msgspec.structs.replace(short.signature, **{scalar: padded})
    assert recover_signer(msgspec.structs.replace(short, signature=long)) == SIGNER


# What the SDK's own tests expect: numbers that every client is checked against


def test_known_hash() -> None:
    order = {
        "coin": "ETH",
        "is_buy": True,
        "sz": 0.0147,
        "limit_px": 1670.1,
        "reduce_only": False,
        "order_type": {"limit": {"tif": "Ioc"}},
    }
    action = sdk.order_wires_to_order_action([sdk.order_request_to_order_wire(order, 4)])
    assert action_hash(action, 1_677_777_606_040, None, None).hex() == (
        "0fcbeda5ae3c4950a548021552a4fea2226858c4453571bf3f24ba017eac2908"
    )


@pytest.mark.parametrize(
    ("action", "nonce", "r", "s", "v"),
    [
        (
            {"type": "dummy", "num": 100_000_000_000},
            0,
            "0x542af61ef1f429707e3c76c5293c80d01f74ef853e34b76efffcb57e574f9510",
            "0x17b8b32f086e8cdede991f1e2c529f5dd5297cbe8128500e00cbaf766204a613",
            28,
        ),
        (
            {
                "type": "usdSend",
                "signatureChainId": "0x66eee",
                "hyperliquidChain": "Testnet",
                "destination": OTHER,
                "amount": "1",
                "time": 1_687_816_341_423,
            },
            1_687_816_341_423,
            "0x637b37dd731507cdd24f46532ca8ba6eec616952c56218baeff04144e4a77073",
            "0x11a6a24900e6e314136d2592e2f8d502cd89b7c15b198e1bee043c9589f9fad7",
            27,
        ),
    ],
)
def test_known_signatures(action: dict[str, Any], nonce: int, r: str, s: str, v: int) -> None:
    assert recover_signer(SignedAction(action, nonce, Signature(r, s, v))) == SIGNER


# Everything that is signed counts


def changes(value: Any) -> Iterator[Any]:
    """`value` with one leaf changed, or one key moved to the end, for each of them."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from (value | {key: changed} for changed in changes(child))
            if key != list(value)[-1]:
                yield {name: value[name] for name in value if name != key} | {key: child}
    elif isinstance(value, list):
        for index, child in enumerate(value):
            before, after = value[:index], value[index + 1 :]
            yield from ([*before, changed, *after] for changed in changes(child))
    elif isinstance(value, str):
        yield value[:-1] + ("1" if value[-1:] != "1" else "2")
    else:
        yield value ^ 1 if isinstance(value, int) else 0


def signer_or_none(signed: SignedAction) -> bytes | None:
    try:
        return recover_signer(signed)
    except PeerError:
        return None


@pytest.mark.parametrize("name", L1)
def test_any_change_of_an_l1_action_changes_its_signer(name: str) -> None:
    signed = decode_signed(post(L1[name], **OPTIONS["both"]))
    replace = msgspec.structs.replace
    actions = [action for action in changes(signed.action) if not is_user_signed(action["type"])]
    assert actions
    others = [replace(signed, action=action) for action in actions]
    others += [replace(signed, nonce=signed.nonce ^ 1 << bit) for bit in (0, 63)]
    others += [replace(signed, vault_address=vault) for vault in (None, OTHER)]
    others += [replace(signed, expires_after=expiry) for expiry in (None, 0, NONCE)]
    for other in others:
        assert recover_signer(other) != SIGNER


@pytest.mark.parametrize("name", USER_SIGNED)
def test_any_change_of_a_signed_field_changes_its_signer(name: str) -> None:
    signed = decode_signed(post(USER_SIGNED[name]))
    kind = signed.action["type"]
    fields = {
        "usdSend": {"destination": VAULT.lower()[:-1], "amount": "2.5", "time": NONCE},
        "approveAgent": {"agentAddress": OTHER, "agentName": "another", "nonce": NONCE},
    }[kind]
    for field, value in (fields | {"signatureChainId": "0xa4b1"}).items():
        nonce = value if isinstance(value, int) else signed.nonce
        other = msgspec.structs.replace(signed, action=signed.action | {field: value}, nonce=nonce)
        assert recover_signer(other) != SIGNER, field


@pytest.mark.parametrize("name", ["order", "usdSend"])
def test_any_change_of_a_signature_changes_its_signer(name: str) -> None:
    signed = decode_signed(post(ALL[name]))
    for changed in changes(msgspec.to_builtins(signed.signature)):
        other = msgspec.structs.replace(signed, signature=Signature(**changed))
        if other.signature != signed.signature:  # keys that moved
            assert signer_or_none(other) != SIGNER


def test_user_signed_fields_may_come_in_any_order_and_case() -> None:
    signed = decode_signed(post(USER_SIGNED["approveAgent-named"]))
    action = dict(reversed(signed.action.items()))
    action["agentAddress"] = "0x" + action["agentAddress"][2:].upper()
    assert recover_signer(msgspec.structs.replace(signed, action=action)) == SIGNER


@pytest.mark.parametrize("name", ["", None])
def test_an_empty_name_is_signed_as_no_name(name: str | None) -> None:
    signed = decode_signed(post(USER_SIGNED["approveAgent-unnamed"]))
    assert "agentName" not in signed.action
    action = signed.action | {"agentName": name}
    assert recover_signer(msgspec.structs.replace(signed, action=action)) == SIGNER


# What is refused


def user_signed(**changed: Any) -> SignedAction:
    signed = decode_signed(post(USER_SIGNED["approveAgent-named"]))
    envelope = {key: changed.pop(key) for key in list(changed) if hasattr(signed, key)}
    return msgspec.structs.replace(signed, action=signed.action | changed, **envelope)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vault_address": VAULT}, "^vaultAddress must be null"),
        ({"expires_after": NONCE}, "^expiresAfter must be null"),
        ({"nonce": NONCE}, "^nonce must be equal to action.nonce"),
        ({"hyperliquidChain": "Mainnet"}, '^action.hyperliquidChain must be "Testnet"'),
        ({"hyperliquidChain": None}, "^action.hyperliquidChain must be a string"),
        ({"agentAddress": "0x12"}, "^action.agentAddress: '0x12' is not an address"),
        ({"agentAddress": 12}, "^action.agentAddress must be a string"),
        ({"agentName": 12}, "^action.agentName must be a string"),
        ({"agentName": "\ud800"}, "not Unicode"),
        ({"signatureChainId": None}, "^action.signatureChainId must be a string"),
        ({"signatureChainId": 421614}, "^action.signatureChainId must be a string"),
        ({"signatureChainId": "421614"}, "^action.signatureChainId must be a number in hex"),
        ({"signatureChainId": "0x" + "f" * 65}, "^action.signatureChainId must be a number in hex"),
    ],
)
def test_user_signed_actions_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestInvalid, match=message):
        recover_signer(user_signed(**changed))


@pytest.mark.parametrize("nonce", [-1, 1 << 64, True, 1.0, "1", None])
def test_nonces_refused(nonce: Any) -> None:
    action = user_signed().action | {"nonce": nonce}
    signed = msgspec.structs.replace(user_signed(), action=action, nonce=nonce)
    with pytest.raises(RequestInvalid, match=r"^action\.nonce must be an integer from 0 to"):
        recover_signer(signed)
    with pytest.raises(RequestInvalid, match=r"^nonce must be an integer from 0 to"):
        recover_signer(msgspec.structs.replace(sign({"type": "noop"}), nonce=nonce))
    if nonce is not None:
        with pytest.raises(RequestInvalid, match=r"^expiresAfter must be an integer from 0 to"):
            recover_signer(msgspec.structs.replace(sign({"type": "noop"}), expires_after=nonce))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"action": ' + b"[" * 60_000, "not JSON|not a signed action"),
        (b'{"action": {"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}}", "not JSON: .*recursion"),
        (b" " * (REQUEST_BODY_BYTES_MAX + 1), "at most 65536 are allowed"),
        (b"[]", "Expected `object`"),
        (b"{}", "`action`"),
        (b'{"action": []}', r"`\$\.action`"),
        (b'{"action": {}, "nonce": true}', r"`\$\.nonce`"),
        (b'{"action": {}, "nonce": "1"}', r"`\$\.nonce`"),
        (b'{"action": {}, "nonce": 1.5}', r"`\$\.nonce`"),
        (b'{"action": {}, "nonce": 1}', "`signature`"),
        (b'{"action": {}, "nonce": 1, "signature": {"r": 1}}', r"`\$\.signature\.r`"),
        (b'{"action": {}, "nonce": 1, "vaultAddress": 1}', r"`\$\.vaultAddress`"),
        (b'{"action": {}, "nonce": 1, "expiresAfter": "1"}', r"`\$\.expiresAfter`"),
    ],
)
def test_bodies_refused(body: bytes, message: str) -> None:
    with pytest.raises(RequestInvalid, match=message):
        decode_signed(body)


def test_unknown_keys_beside_the_action_are_ignored() -> None:
    body = post(L1["order"])
    assert decode_signed(body[:-1] + b', "isFrontend": true}') == decode_signed(body)


def test_the_actions_keys_keep_their_order() -> None:
    body = b'{"action":{"z":1,"a":{"y":1,"b":2}},"nonce":1,"signature":{"r":"","s":"","v":27}}'
    action = decode_signed(body).action
    assert list(action) == ["z", "a"]
    assert list(action["a"]) == ["y", "b"]


@pytest.mark.parametrize("action", [{}, {"type": None}, {"type": 1}, {"type": ["order"]}])
def test_an_action_has_a_type(action: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid, match=r"^action\.type must be a string"):
        recover_signer(SignedAction(action, 1, Signature("0x1", "0x1", 27)))


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "value", [1 << 64, -(1 << 63) - 1, object(), "\ud800", nested(100_000)], ids=range(5)
)
def test_what_has_no_msgpack_form_is_refused(value: object) -> None:
    with pytest.raises(RequestInvalid, match="msgpack"):
        action_hash({"type": "noop", "value": value}, 1, None, None)


def test_a_vault_is_an_address() -> None:
    with pytest.raises(RequestInvalid, match=r"^vaultAddress: '0x12' is not an address"):
        recover_signer(msgspec.structs.replace(sign({"type": "noop"}), vault_address="0x12"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        OTHER[2:],
        OTHER[:-1],
        OTHER + "0",
        OTHER + "\n",
        "0X" + OTHER[2:],
        "0x" + "\N{ARABIC-INDIC DIGIT THREE}" * 40,
        "0x" + " 12" * 13 + " ",
    ],
)
def test_addresses_refused(text: str) -> None:
    with pytest.raises(RequestInvalid, match="is not an address"):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address(VAULT) == parse_address(VAULT.lower()) == bytes.fromhex(VAULT[2:])
    assert parse_address("0x" + OTHER[2:].upper()) == bytes.fromhex(OTHER[2:])


def test_which_actions_are_user_signed() -> None:
    assert [kind for kind in ("order", "usdSend", "", "approveAgent") if is_user_signed(kind)] == [
        "usdSend",
        "approveAgent",
    ]


# Signatures


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"v": 2}, r"^signature\.v must be"),
        ({"v": 29}, r"^signature\.v must be"),
        ({"v": -1}, r"^signature\.v must be"),
        ({"r": ""}, r"^signature\.r must be"),
        ({"r": "0x"}, r"^signature\.r must be"),
        ({"r": "12"}, r"^signature\.r must be"),
        ({"s": "0x" + "1" * 65}, r"^signature\.s must be"),
        ({"s": "0x1 2"}, r"^signature\.s must be"),
        ({"r": "0x0"}, "nobody can have made"),
        ({"s": "0x0"}, "nobody can have made"),
        ({"s": hex(SECPK1_N)}, "nobody can have made"),
        ({"r": hex(SECPK1_N)}, "nobody can have made"),
        ({"r": "0x5"}, "nobody can have made"),  # no point of the curve has this x
    ],
)
def test_signatures_refused(changed: dict[str, Any], message: str) -> None:
    signed = sign({"type": "noop"})
    bad = msgspec.structs.replace(signed.signature, **changed)
    with pytest.raises(SignatureInvalid, match=message):
        recover_signer(msgspec.structs.replace(signed, signature=bad))


def test_recovery_ids_without_the_27() -> None:
    seen = set()
    for signed in (sign({"type": "noop"}, nonce) for nonce in range(10)):
        bare = msgspec.structs.replace(signed.signature, v=signed.signature.v - 27)
        assert recover_signer(msgspec.structs.replace(signed, signature=bare)) == SIGNER
        seen.add(bare.v)
    assert seen == {0, 1}


def test_high_s_is_accepted() -> None:
    signed = sign({"type": "noop"})
    made = signed.signature
    twin = Signature(made.r, hex(SECPK1_N - int(made.s, 16)), 55 - made.v)
    assert recover_signer(msgspec.structs.replace(signed, signature=twin)) == SIGNER


# Properties

ints = st.integers(-(1 << 63), (1 << 64) - 1) | st.integers(-200, 70_000)
texts = st.text(max_size=40) | st.integers(0, 300).map(lambda n: "x" * n)
leaves = st.none() | st.booleans() | ints | texts | st.floats(allow_nan=False)
values = st.recursive(
    leaves,
    lambda child: st.lists(child, max_size=6) | st.dictionaries(st.text(), child, max_size=6),
    max_leaves=15,
)
kinds = st.sampled_from(["order", "noop", "usdSend", "approveAgent"])
user_signed_fields = {
    "type": "usdSend",
    "hyperliquidChain": "Testnet",
    "signatureChainId": "0x66eee",
    "destination": OTHER,
    "amount": "1",
    "agentAddress": VAULT,
    "agentName": "",
    "time": 7,
    "nonce": 7,
}
actions = st.builds(
    lambda kind, changed, rest: rest | user_signed_fields | {"type": kind} | changed,
    kinds | st.text(),
    st.dictionaries(st.sampled_from(list(user_signed_fields)), values, max_size=2),
    st.dictionaries(st.text(), values, max_size=3),
)
scalars = st.integers(0, (1 << 257) - 1).map(hex) | st.integers(0, 9).map(hex)
hexes = scalars | st.text()
signatures = st.builds(Signature, hexes, hexes, st.sampled_from([0, 1, 27, 28]) | st.integers())
addresses = st.none() | st.sampled_from([OTHER, VAULT]) | st.text()
signed_actions = st.builds(
    SignedAction,
    actions,
    st.just(7) | st.integers(),
    signatures,
    addresses,
    st.none() | st.integers(),
)


@settings(deadline=None)
@given(values)
def test_msgspec_packs_as_msgpack_does(value: Any) -> None:
    assert msgspec.msgpack.encode(value) == msgpack.packb(value)


@pytest.mark.parametrize("size", [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_msgspec_packs_as_msgpack_does_at_every_width(size: int) -> None:
    for value in ("x" * size, [None] * size, {f"{key}": key for key in range(size)}):
        assert msgspec.msgpack.encode(value) == msgpack.packb(value)


def test_msgspec_packs_ints_as_msgpack_does_at_every_width() -> None:
    for bits in range(65):
        for value in ((1 << bits) - 1, -(1 << max(bits - 1, 0)), -(1 << max(bits - 1, 0)) + 1):
            assert msgspec.msgpack.encode(value) == msgpack.packb(value)


@settings(deadline=None)
@given(
    st.dictionaries(st.text(), values, max_size=5),
    st.integers(0, (1 << 64) - 1),
    st.none() | st.binary(min_size=20, max_size=20),
    st.none() | st.integers(0, (1 << 64) - 1),
)
def test_hash_is_the_sdks(
    action: dict[str, Any], nonce: int, vault: bytes | None, expires_after: int | None
) -> None:
    address = None if vault is None else f"0x{vault.hex()}"
    expected = sdk.action_hash(action, address, nonce, expires_after)
    assert action_hash(action, nonce, vault, expires_after) == expected


@settings(deadline=None)
@given(st.integers(0, 1 << 256), st.integers(0, 1 << 256), st.sampled_from([0, 1, 27, 28]))
def test_any_signature_recovers_to_what_eth_account_says(r: int, s: int, v: int) -> None:
    signed = SignedAction({"type": "noop"}, 7, Signature(hex(r), hex(s), v))
    wire = msgspec.to_builtins(signed.signature) | {"r": r, "s": s}
    try:
        address = sdk.recover_agent_or_user_from_l1_action(
            signed.action, wire, None, 7, None, False
        )
    except Exception:  # noqa: BLE001 - eth-keys raises several unrelated types
        assert signer_or_none(signed) is None
    else:
        assert recover_signer(signed) == bytes.fromhex(address[2:])


@settings(deadline=None)
@given(
    destination=texts,
    amount=texts,
    name=texts,
    nonce=st.integers(0, (1 << 64) - 1),
    agent=st.binary(min_size=20, max_size=20),
)
def test_any_text_is_signed_as_the_sdk_does(
    destination: str, amount: str, name: str, nonce: int, agent: bytes
) -> None:
    send = {"type": "usdSend", "destination": destination, "amount": amount, "time": nonce}
    approve = {"type": "approveAgent", "agentAddress": f"0x{agent.hex()}", "nonce": nonce}
    approve["agentName"] = name
    for action, signer in ((send, sdk.sign_usd_transfer_action), (approve, sdk.sign_agent)):
        signature = Signature(**signer(WALLET, action, False))
        assert recover_signer(SignedAction(action, nonce, signature)) == SIGNER


@settings(deadline=None)
@given(st.binary() | values.map(msgspec.json.encode) | signed_actions.map(msgspec.json.encode))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    try:
        signed = decode_signed(body)
    except RequestInvalid:
        return
    signer_or_none(signed)


@settings(deadline=None, max_examples=200)
@given(signed_actions)
def test_any_action_has_a_signer_or_is_refused(signed: SignedAction) -> None:
    try:
        signer = recover_signer(signed)
    except (RequestInvalid, SignatureInvalid):
        return
    assert len(signer) == 20
