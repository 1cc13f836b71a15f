"""The mutants of a module: its source with one thing changed, as mutmut's operators change it.

mutmut itself, as of version 3, changes the bodies of functions only and passes over decorated ones.
Here its operators are applied to all of a module, since much of what matters is written outside of
functions: tables, constants, layouts. Left alone are types, docstrings, imports, and the words of
errors and asserts: those are for people.
"""

import re
from typing import Any, NamedTuple

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

_TYPES_ONLY = (
    m.Annotation()
    | m.Import()
    | m.ImportFrom()
    | m.If(test=m.Name("TYPE_CHECKING"))
    | m.Assign(  # Quote = tuple[int, int, int]
        targets=[m.AssignTarget(target=m.Name(m.MatchRegex(r"_?[A-Z][a-z]\w*$")))],
        value=m.Subscript() | m.BinaryOperation(),
    )
)
_DOCSTRING = m.SimpleStatementLine(body=[m.Expr(m.SimpleString())])
_SAYS = m.Raise() | m.Assert() | m.Call(func=m.Name("StateMismatch"))
_OF_WORDS = (mutators.operator_string, mutators.operator_arg_removal)
_OF_VALUES = (  # a name, a word or an argument is missing: nearly any test notices that
    *_OF_WORDS,
    mutators.operator_assignment,
    mutators.operator_augmented_assignment,
)


class Mutant(NamedTuple):
    """One change; `line` and `change` say where and what. `logic`: an operator, a number or a
    condition is changed; else a value, a word or an argument is missing.
    """

    line: int
    change: str
    logic: bool
    module: cst.Module
    before: cst.CSTNode
    after: Any

    @property
    def source(self) -> str:
        """The module with it. O(module)."""
        mutated = self.module.deep_replace(self.before, self.after)
        assert isinstance(mutated, cst.Module)
        return mutated.code


def mutants_of(source: str) -> list[Mutant]:
    """By line."""
    wrapper = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    finder = _Finder(wrapper.module)
    wrapper.visit(finder)
    return sorted(finder.found, key=lambda mutant: (mutant.line, mutant.change))


class _Finder(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, module: cst.Module) -> None:
        super().__init__()
        self.found: list[Mutant] = []
        self._module = module
        self._says = 0  # how many errors and asserts around here

    def on_visit(self, node: cst.CSTNode) -> bool:
        if m.matches(node, _TYPES_ONLY | _DOCSTRING):
            return False
        self._says += m.matches(node, _SAYS)
        for kind, operator in mutators.mutation_operators:
            if isinstance(node, kind) and not (self._says and operator in _OF_WORDS):
                for changed in operator(node):
                    self._add(node, changed, logic=operator not in _OF_VALUES)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        self._says -= m.matches(original_node, _SAYS)

    def _add(self, node: cst.CSTNode, changed: Any, *, logic: bool) -> None:
        line = self.get_metadata(PositionProvider, node).start.line
        before, after = (self._module.code_for_node(one) for one in (node, changed))
        if before != after:
            change = f"{_short(before)}  ->  {_short(after)}"
            self.found.append(Mutant(line, change, logic, self._module, node, changed))


def _short(code: str) -> str:
    return re.sub(r"\s+", " ", code).strip()[:80]
