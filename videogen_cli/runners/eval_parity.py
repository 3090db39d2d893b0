"""Run golden cases through the plugins' parity functions and report every one of them."""

from __future__ import annotations

import fnmatch
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videogen_cli.config import DeviceConfig
from videogen_cli.errors import DataError, ExitCode, UsageError, VgenError
from videogen_cli.metrics.parity import CASE, IO, Comparison, UnsupportedCase, compare, read_case, read_record
from videogen_cli.output import Output
from videogen_cli.registry import load_attr, spec

MODES = ("pynative", "graph")


@dataclass(frozen=True)
class ParityRequest:
    """What ``vgen eval parity`` is asked to do; see its options."""

    folders: Sequence[Path]
    component: str = "*"
    case: str = "*"
    mode: str = "pynative"


@dataclass(frozen=True)
class Outcome:
    """What became of one case; ``error`` says why it could not be compared."""

    case: str
    seconds: float
    outputs: Mapping[str, Comparison] = field(default_factory=dict)
    error: str = ""
    code: int = ExitCode.OK

    @property
    def passed(self) -> bool:
        """Whether every output is within its tolerance."""
        return not self.error and all(item.passed for item in self.outputs.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the case's JSON line."""
        outputs = {name: item.to_dict() for name, item in self.outputs.items()}
        record = {"case": self.case, "passed": self.passed, "outputs": outputs, "seconds": round(self.seconds, 3)}
        return {**record, "error": self.error} if self.error else record

    def worst(self) -> tuple[str, Comparison] | None:
        """Return the output that failed, or else the one nearest to failing."""
        items = sorted(self.outputs.items(), key=lambda item: (item[1].passed, -(item[1].used or 0.0)))
        return items[0] if items else None


def run(request: ParityRequest, output: Output) -> int:
    """Compare all selected cases; return the exit code.

    The code is 0 if all passed, that of the first error (3 for a broken case folder, 4 for broken weights) if there
    was one, and 1 if there were only differences. A case that cannot be run does not stop the others.

    Raises:
        UsageError: an unknown mode, or nothing is selected.
        DataError: a folder does not exist or holds no cases.
    """
    if request.mode not in MODES:
        raise UsageError(f"'{request.mode}' is not one of {', '.join(MODES)}", where="--mode")
    folders = [folder for start in request.folders for folder in find_cases(start)]
    selected = [folder for folder in dict.fromkeys(folders) if _selected(folder, request)]
    if not selected:
        raise UsageError(f"none of {len(folders)} cases matches", where="--case, --component")
    device = DeviceConfig(mode=request.mode, compile_cache=False)
    outcomes: list[Outcome] = []
    with output.progress("parity", len(selected)) as progress:
        for folder in selected:
            progress.update(folder.name)
            outcomes.append(_run_case(folder, device, debug=output.debug))
            output.result(outcomes[-1].to_dict())
            progress.advance()
    _report(outcomes, output)
    errors = [outcome.code for outcome in outcomes if outcome.code]
    return next((code for code in errors if code != ExitCode.BUG), errors[0] if errors else ExitCode.OK)


def find_cases(start: Path) -> Iterator[Path]:
    """Yield the case folders in ``start`` (or itself), by name; one that lacks a file of a case is still one.

    Raises:
        DataError: there is no such folder, or it holds no cases.
    """
    if not start.is_dir():
        raise DataError("there is no such folder", where=str(start))
    folders = sorted({path.parent for name in (CASE, IO) for path in start.rglob(name)})
    if not folders:
        raise DataError(f"holds no golden cases (folders with {CASE})", where=str(start))
    yield from folders


def _selected(folder: Path, request: ParityRequest) -> bool:
    if not fnmatch.fnmatchcase(folder.name, request.case):
        return False
    if request.component == "*":
        return True
    try:
        return fnmatch.fnmatchcase(read_record(folder)["component"], request.component)
    except DataError:
        return True  # broken, so reported


def _run_case(folder: Path, device: DeviceConfig, *, debug: bool) -> Outcome:
    """Run one case; whatever goes wrong becomes part of the outcome."""
    started, name = time.monotonic(), folder.name

    def outcome(**parts: Any) -> Outcome:
        return Outcome(name, time.monotonic() - started, **parts)

    try:
        case = read_case(folder, device)
        results = compare(case, _function(case.model, case.component)(case))
    except VgenError as error:
        return outcome(error=str(error), code=error.code)
    except Exception as error:  # a bug in one component must not hide the other cases
        if debug:
            traceback.print_exc()
        first_line = (str(error).strip().splitlines() or [""])[0]
        return outcome(error=f"this is a bug in vgen: {type(error).__name__}: {first_line}", code=ExitCode.BUG)
    passed = all(item.passed for item in results.values())
    return outcome(outputs=results, code=ExitCode.OK if passed else ExitCode.BUG)


def _function(model: str, component: str) -> Any:
    """Return the plugin's function for a component.

    Raises:
        UnsupportedCase: the model, or the component of it, is not known.
    """
    try:
        functions = spec(model).parity
    except UsageError as error:
        raise UnsupportedCase(f"unsupported model '{model}'") from error
    if component not in functions:
        raise UnsupportedCase(f"unsupported component '{component}' of {model}")
    return load_attr(functions[component])


def _report(outcomes: Sequence[Outcome], output: Output) -> None:
    output.table(
        "Parity", ("case", "", "worst output", "error", "of tolerance", "seconds"), [_row(item) for item in outcomes]
    )
    for item in outcomes:
        if item.error:
            output.warn(f"{item.case}: {item.error}")
    passed = sum(item.passed for item in outcomes)
    output.info(f"{passed} of {len(outcomes)} cases pass")


def _row(outcome: Outcome) -> tuple[str, ...]:
    verdict = "pass" if outcome.passed else "FAIL"
    seconds = f"{outcome.seconds:.1f}"
    worst = outcome.worst()
    if worst is None:
        return outcome.case, verdict, "", outcome.error.splitlines()[0], "", seconds
    name, item = worst
    error = item.reason or f"{item.max_abs:.2e}"
    share = "" if item.used is None else f"{item.used:.1%}"
    return outcome.case, verdict, name, error, share, seconds
