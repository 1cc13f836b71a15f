"""Who signed an action: Hyperliquid's two schemes, off mainnet.

    L1 actions: nearly all. The key signs a "phantom agent" that holds the hash of everything

      connectionId = keccak( msgpack(action) | nonce, 8 bytes, big-endian
                             | 00, or 01 and the vault's 20 bytes
                             | nothing, or 00 and expiresAfter, 8 bytes, big-endian )
      Agent(string source, bytes32 connectionId)       source "b": not mainnet
      in the domain Exchange, 1, chain 1337

    User-signed actions: what a wallet has to show its owner. The key signs the action's own fields

      HyperliquidTransaction:UsdSend(string hyperliquidChain, string destination, ...)
      in the domain HyperliquidSignTransaction, 1, chain signatureChainId

Both are EIP-712: what is signed is keccak(19 01 | domain | struct). The action is hashed as it was
posted, in its own order of keys.

No signature says whose it is: any well-formed one recovers some address, another for each
change of what was signed. It means something only if that address is known.

https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/signing
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from coincurve import PublicKey
from eth_account.messages import SignableMessage, encode_typed_data
from eth_hash.auto import keccak

from sidecar.errors import RequestInvalid, SignatureInvalid
from sidecar.limits import REQUEST_BODY_BYTES_MAX

_CHAIN = "Testnet"  # what user-signed actions call every chain but mainnet
_SOURCE = b"b"  # what phantom agents call it
_UINT64_MAX = (1 << 64) - 1
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_CHAIN_ID = re.compile(r"0x[0-9a-fA-F]{1,64}")
_SCALAR = re.compile(r"0x[0-9a-fA-F]{1,64}")
_RECOVERY_IDS = {0: b"\0", 1: b"\1", 27: b"\0", 28: b"\1"}


class Signature(msgspec.Struct, frozen=True):
    """An ECDSA signature over secp256k1: `r` and `s` in hex, without leading zeros at will."""

    r: str
    s: str
    v: int


class SignedAction(msgspec.Struct, frozen=True, rename="camel"):
    """What is posted to the exchange endpoint. `expires_after` in ms."""

    action: dict[str, Any]
    nonce: int
    signature: Signature
    vault_address: str | None = None
    expires_after: int | None = None


class _UserSigned(NamedTuple):
    primary_type: str
    nonce: str  # the field that repeats the envelope's nonce
    fields: tuple[tuple[str, str], ...]  # name and EIP-712 type, in the order that is signed
    optional: frozenset[str] = frozenset()  # signed as "" where absent


# To add one: its row. Types other than those of `_READERS` need a reader, too.
_USER_SIGNED = {
    "usdSend": _UserSigned(
        "HyperliquidTransaction:UsdSend",
        nonce="time",
        fields=(
            ("hyperliquidChain", "string"),
            ("destination", "string"),
            ("amount", "string"),
            ("time", "uint64"),
        ),
    ),
    "approveAgent": _UserSigned(
        "HyperliquidTransaction:ApproveAgent",
        nonce="nonce",
        fields=(
            ("hyperliquidChain", "string"),
            ("agentAddress", "address"),
            ("agentName", "string"),
            ("nonce", "uint64"),
        ),
        optional=frozenset({"agentName"}),
    ),
}

_decoder = msgspec.json.Decoder(SignedAction)
_packer = msgspec.msgpack.Encoder()


def decode_signed(body: bytes) -> SignedAction:
    """A signed action of its JSON; the keys of `action` keep their order, unknown ones beside it
    are ignored.

    Raises `RequestInvalid`. What is inside `action` is for who executes it to check. O(bytes).
    """
    if len(body) > REQUEST_BODY_BYTES_MAX:
        raise RequestInvalid(
            f"an action of {len(body)} bytes; at most {REQUEST_BODY_BYTES_MAX} are allowed"
        )
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise RequestInvalid(f"not a signed action: {error}") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RequestInvalid(f"not JSON: {error}") from error


def is_user_signed(action_type: str) -> bool:
    """Whether the owner's own key has to sign this, over the action's own fields: no agent may."""
    return action_type in _USER_SIGNED


def recover_signer(signed: SignedAction) -> bytes:
    """The 20 bytes of the address whose key signed this, an agent's or an account's.

    Raises `SignatureInvalid` for a signature that is no signature, `RequestInvalid` for an action
    that can't have been signed. About 80 us for an L1 action, 200 us for a user-signed one.
    """
    return recover(signed_digest(signed), signed.signature)


def signed_digest(signed: SignedAction) -> bytes:
    """The 32 bytes that the signature is of: equal for equal actions, however they are written.

    Raises `RequestInvalid` for an action that can't have been signed.
    """
    kind = signed.action.get("type")
    if not isinstance(kind, str):
        raise RequestInvalid('action.type must be a string such as "order"')
    scheme = _USER_SIGNED.get(kind)
    return _digest_of_l1(signed) if scheme is None else _digest_of_user_signed(signed, scheme)


def action_hash(
    action: dict[str, Any], nonce: int, vault: bytes | None, expires_after: int | None
) -> bytes:
    """The connection id of an L1 action, 32 bytes. `vault`: 20 bytes; `expires_after`: ms.

    Raises `RequestInvalid` for what has no hash: ints beyond 64 bits, for one.
    """
    try:
        packed = _packer.encode(action)  # the same bytes as msgpack's, several times faster
    except (OverflowError, RecursionError, TypeError, ValueError) as error:
        raise RequestInvalid(f"the action has no msgpack form: {error}") from error
    return keccak(
        packed
        + _uint64("nonce", nonce).to_bytes(8, "big")
        + (b"\0" if vault is None else b"\1" + vault)
        + _expiry(expires_after)
    )


def parse_address(text: str) -> bytes:
    """The 20 bytes of "0x" and 40 hex digits of any case. Raises `RequestInvalid`."""
    if _ADDRESS.fullmatch(text) is None:
        raise RequestInvalid(f'{text[:50]!r} is not an address: "0x" and 40 hex digits')
    return bytes.fromhex(text[2:])


# L1 actions


def _digest_of_l1(signed: SignedAction) -> bytes:
    vault = signed.vault_address
    connection_id = action_hash(
        signed.action,
        signed.nonce,
        None if vault is None else _address("vaultAddress", vault),
        signed.expires_after,
    )
    return keccak(_AGENT_DOMAIN + keccak(_AGENT_SOURCE + connection_id))


def _expiry(expires_after: int | None) -> bytes:
    if expires_after is None:
        return b""
    return b"\0" + _uint64("expiresAfter", expires_after).to_bytes(8, "big")


# User-signed actions


def _digest_of_user_signed(signed: SignedAction, scheme: _UserSigned) -> bytes:
    _check_envelope(signed, scheme)
    message = {name: _field(signed.action, scheme, name, kind) for name, kind in scheme.fields}
    if message["hyperliquidChain"] != _CHAIN:
        raise RequestInvalid(f'action.hyperliquidChain must be "{_CHAIN}": this is not mainnet')
    try:
        typed = _typed_data(
            domain="HyperliquidSignTransaction",
            chain_id=_chain_id(signed.action.get("signatureChainId")),
            primary_type=scheme.primary_type,
            fields=scheme.fields,
            message=message,
        )
    except UnicodeEncodeError as error:
        raise RequestInvalid(f"the action holds text that is not Unicode: {error}") from error
    return keccak(_signed_prefix(typed) + typed.body)


def _check_envelope(signed: SignedAction, scheme: _UserSigned) -> None:
    """What is beside a user-signed action is not signed: it may say nothing of its own."""
    if signed.vault_address is not None:
        raise RequestInvalid("vaultAddress must be null: a user-signed action does not sign it")
    if signed.expires_after is not None:
        raise RequestInvalid("expiresAfter must be null: a user-signed action does not sign it")
    field = f"action.{scheme.nonce}"
    if _uint64(field, signed.action.get(scheme.nonce)) != signed.nonce:
        raise RequestInvalid(f"nonce must be equal to {field}, which is what was signed")


def _field(action: dict[str, Any], scheme: _UserSigned, name: str, kind: str) -> str | int:
    value = action.get(name)
    if value is None and name in scheme.optional:
        return ""
    return _READERS[kind](f"action.{name}", value)


def _chain_id(value: object) -> int:
    text = _text("action.signatureChainId", value)
    if _CHAIN_ID.fullmatch(text) is None:
        raise RequestInvalid('action.signatureChainId must be a number in hex such as "0x66eee"')
    return int(text, 16)


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise RequestInvalid(f"{field} must be a string")
    return value


def _address(field: str, value: object) -> bytes:
    text = _text(field, value)
    try:
        return parse_address(text)
    except RequestInvalid as error:
        raise RequestInvalid(f"{field}: {error}") from None


def _address_text(field: str, value: object) -> str:
    return f"0x{_address(field, value).hex()}"  # in mixed case it would have to be a checksum


def _uint64(field: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= _UINT64_MAX:
        raise RequestInvalid(f"{field} must be an integer from 0 to 2**64 - 1")
    return value


_READERS: dict[str, Callable[[str, object], str | int]] = {
    "string": _text,
    "address": _address_text,
    "uint64": _uint64,
}


# EIP-712 and the curve


def recover(digest: bytes, signature: Signature) -> bytes:
    """The 20 bytes of the address whose key made a signature. Raises `SignatureInvalid`. 40 us.

    High `s` is accepted, as eth-account and Ethereum's own ecrecover do: whoever sees a
    signature can make its twin, so that only the nonce keeps an action from being sent twice.
    """
    recovery_id = _RECOVERY_IDS.get(signature.v)
    if recovery_id is None:
        raise SignatureInvalid("signature.v must be 27 or 28 (or 0 or 1)")
    compact = _scalar("r", signature.r) + _scalar("s", signature.s) + recovery_id
    try:
        key = PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except ValueError as error:
        raise SignatureInvalid(f"nobody can have made this signature: {error}") from error
    return keccak(key.format(compressed=False)[1:])[-20:]


def _scalar(name: str, text: str) -> bytes:
    if _SCALAR.fullmatch(text) is None:
        raise SignatureInvalid(f'signature.{name} must be "0x" and 1 to 64 hex digits')
    return bytes.fromhex(text[2:].rjust(64, "0"))


def _typed_data(
    *,
    domain: str,
    chain_id: int,
    primary_type: str,
    fields: tuple[tuple[str, str], ...],
    message: dict[str, Any],
) -> SignableMessage:
    return encode_typed_data(
        domain_data={
            "name": domain,
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": f"0x{bytes(20).hex()}",
        },
        message_types={primary_type: [{"name": name, "type": kind} for name, kind in fields]},
        message_data=message,
    )


def _signed_prefix(typed: SignableMessage) -> bytes:
    return b"\x19" + typed.version + typed.header


# All of a phantom agent but its connection id is the same for every L1 action.
_AGENT_DOMAIN = _signed_prefix(
    _typed_data(
        domain="Exchange",
        chain_id=1337,
        primary_type="Agent",
        fields=(("source", "string"), ("connectionId", "bytes32")),
        message={"source": _SOURCE.decode(), "connectionId": bytes(32)},
    )
)
_AGENT_SOURCE = keccak(b"Agent(string source,bytes32 connectionId)") + keccak(_SOURCE)
