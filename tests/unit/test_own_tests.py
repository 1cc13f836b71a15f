"""Each module's own tests are there, wherever a table names them."""

from own_tests import ROOT, modules, own_tests


def test_those_that_are_named_exist() -> None:
    for module in modules():
        assert [path for path in own_tests(module) if not (ROOT / path).is_file()] == [], module


def test_what_is_pure_has_its_own_and_not_the_whole_rooms() -> None:
    pure = [path for path in modules() if path.parts[1] in ("protocol", "state")]
    assert len(pure) > 25
    assert [str(path) for path in pure if not 0 < len(own_tests(path)) <= 3] == []
