"""Throughput of one library: what `make bench-peers` runs for each, in turns.

    python -m pytest bench/peer_throughput.py --peer torch --functions gelu

Not named `test_...`: `pytest bench/` measures fastact alone, without its peers.
"""

from __future__ import annotations

import math
import os
from typing import Any

import pytest
from implementations import SMALL
from peer_implementations import PEERS, PeerCase, Spelling, spellings

from fastact.commands.cases import check, duration, rounds

# In each turn; several turns add up. See test_throughput.py.
SECONDS, SECONDS_SMALL = 0.08, 0.03
# Calls that take as long as the turn itself.
LEAST_ROUNDS = 2
CHECKED = 100_000  # elements, evenly spread: the truth of ten million would take long


def _fault(spelling: Spelling, case: PeerCase) -> str | None:
    """Why this spelling is not timed, if its result is wrong."""
    try:
        with spelling.settings():
            found = spelling.result(spelling())
    except Exception as error:  # whatever a library raises where it lacks a dtype
        return f"{type(error).__name__}: {error}"
    shape = case.inputs["x"].shape
    if found.shape != shape or found.dtype != case.dtype:
        return f"{found.dtype} of shape {found.shape}"
    arguments = [case.some(array, CHECKED) for array in case.expected_arguments]
    try:
        check(case.some(found, CHECKED), case, tuple(arguments))
    except AssertionError as error:
        return " ".join(str(error).split())
    return None


def _duration(spelling: Spelling, seconds: float) -> float:
    with spelling.settings():
        return duration(spelling, seconds)


def test_peer(
    peer_case: PeerCase,
    pytestconfig: pytest.Config,
    rejected: dict[str, dict[str, str]],
    benchmark: Any,
) -> None:
    case, option = peer_case, pytestconfig.option
    peer = option.peer
    found = spellings(peer, case)
    if not found:
        pytest.skip(f"{PEERS[peer].name} has no such function")
    # Few elements: whatever is fastest. Many: into a ready output, where that exists.
    large = case.size >= SMALL
    wanted = option.outputs == "ready"
    if large:
        found = [s for s in found if s.ready == wanted] or found
    faults = {spelling.text: _fault(spelling, case) for spelling in found}
    wrong = {text: fault for text, fault in faults.items() if fault is not None}
    if wrong:
        rejected[f"{PEERS[peer].name} {case}"] = wrong
    right = [spelling for spelling in found if spelling.text not in wrong]
    if not right:
        pytest.skip("no result was right")
    seconds = SECONDS if large else SECONDS_SMALL
    spelling = min(right, key=lambda s: _duration(s, seconds) if right[1:] else 0)
    benchmark.group = case.group
    benchmark.extra_info.update(
        peer=peer,
        threads=len(os.sched_getaffinity(0)),
        outputs=option.outputs,
        function=case.function,
        axis=case.axis,
        label=case.label,
        direction=case.direction,
        dtype=case.dtype,
        elements=math.prod(case.shape),
        spelling=spelling.text,
        ready=spelling.ready,
        from_output=spelling.from_output or spelling.from_kept,
        checked=True,
    )
    with spelling.settings():
        benchmark.pedantic(
            spelling.function,
            spelling.arguments,
            dict(spelling.keywords),
            **rounds(spelling, seconds, LEAST_ROUNDS),
        )
