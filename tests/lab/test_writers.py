"""Every writer under the laboratory: H1 (kill), H2 (power cut), H3, H4, H6 (full, failing, interrupted, short)."""

from __future__ import annotations

import pytest

from lab.faults import Tally, fault_points, kill_points, power_cuts, short_writes
from lab.writers import WRITERS

TRIALS = {
    "H1-kill": (kill_points, 200),
    "H3-H4-H6-faults": (fault_points, 300),
    "H4-short-writes": (short_writes, 40),
    "H2-power-cut": (power_cuts, 150),
}


@pytest.mark.parametrize("name", TRIALS)
def test_no_writer_loses_old_and_new(name, tmp_path, record_property, capsys):
    trial, at_least = TRIALS[name]
    total = Tally()
    for i, writer in enumerate(WRITERS):
        tally = trial(writer, tmp_path / str(i))
        record_property(writer.name, str(tally))
        total += tally
    record_property("total", str(total))
    with capsys.disabled():
        print(f"\n  {name}: {len(WRITERS)} writers, {total}")
    assert not total.lost, "\n".join(total.lost[:30])
    assert total.points >= at_least
