"""Sweeps: the same numbers whoever does the jobs, errors as rows, and going on where it stopped."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import textwrap
import warnings

import numpy as np
import pytest

from archgraph.errors import SpecError, UsageError
from archgraph.sweeping import parse_grid, sweep
from archgraph.sweeping.job import Job, Options, as_task
from archgraph.sweeping.log import Log
from archgraph.sweeping.source import Source, read_source
from archgraph.sweeping.work import run_jobs
from tests.sweeping.networks import DYING, MORTAL, RESIDUAL

SOURCE = Source(RESIDUAL, "by_depth.yaml")
FEW = Options(batch=2, samples=4, wrt=("x",))
GRID = parse_grid(["lam=0.5,1", "depth=1,3"])


def test_rows_are_what_a_direct_call_gives():
    from archgraph.prediction import predict

    found = sweep(SOURCE, GRID, seeds=2, options=FEW, workers=1)
    assert len(found.rows) == 8
    for row in found.rows:
        settings = {"lam": row["lam"], "depth": row["depth"]}
        graph = SOURCE.load(settings.items())
        node = predict(graph, batch=2, samples=4, seed=row["seed"]).nodes["x"]
        assert (row["energy"], row["standard_error"]) == (node.energy, node.standard_error)
    assert len({row["seed"] for row in found.rows}) == 8


def test_decompose_is_what_a_direct_call_gives():
    from archgraph.gradient import decompose, run_once

    found = sweep(SOURCE, GRID, "decompose", seeds=2, options=Options(by="branches"), workers=1)
    whole = [row for row in found.rows if row["kind"] == "gradient"]
    parts = [row for row in found.rows if row["kind"] == "branches"]
    assert len(whole) == 8
    first = whole[0]
    graph = SOURCE.load({"lam": 0.5, "depth": 1}.items())
    direct = decompose(run_once(graph, seed=first["seed"]), "x", "branches")
    assert (first["norm"], first["rms"]) == (direct.norm, direct.headline.rms)
    assert [(p["name"], p["share"]) for p in parts[:2]] == [
        (str(p.key), p.share) for p in direct.parts
    ]


def test_a_chunk_may_hold_several_points():
    task = as_task(SOURCE, "predict", FEW)
    jobs = [Job((("depth", depth),), 0) for depth in (1, 3, -1, 1)]
    together = run_jobs(task, jobs)
    alone = [run_jobs(task, [job])[0] for job in jobs]
    assert [outcome.rows for outcome in together] == [outcome.rows for outcome in alone]
    assert together[0].rows == together[3].rows != together[1].rows
    assert [outcome.error is None for outcome in together] == [True, True, False, True]


def test_a_job_has_one_torch_thread(monkeypatch):
    import torch

    from archgraph.sweeping import work

    seen = []

    def look(*_):
        seen.append(torch.get_num_threads())
        return []

    monkeypatch.setattr(work, "_WORK", {"predict": look})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run_jobs(as_task(SOURCE, "predict", FEW), [Job((), 0)])
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_measure_is_what_a_direct_call_gives():
    from archgraph.measurement import measure

    options = Options(batch=2, wrt=("x", "h.0.F.weight"))
    found = sweep(SOURCE, GRID, "measure", seeds=2, options=options, workers=1)
    node, parameter = found.rows[:2]
    graph = SOURCE.load({"lam": 0.5, "depth": 1}.items())
    direct = measure(graph, seeds=[node["seed"]], batch=2)
    assert (node["kind"], node["energy"]) == ("node", direct.nodes["x"].energy)
    assert parameter["rms"] == direct.parameters["h.0.F.weight"].rms
    # All networks of a point at once give what the point says of them.
    seeds = [row["seed"] for row in found.rows[:4:2]]
    both = measure(graph, seeds=seeds, batch=2).nodes["x"]
    assert found.points[0].value == pytest.approx(both.energy, rel=1e-9)
    assert found.points[0].standard_error == pytest.approx(both.standard_error, rel=1e-6)

    options = Options(batch=2, wrt=("x",), samples=3)
    (row,) = sweep(SOURCE, {"depth": 1}, "measure", options=options, workers=1).rows
    graph = SOURCE.load({"depth": 1}.items())
    three = measure(graph, seeds=[row["seed"] + i for i in range(3)], batch=2).nodes["x"]
    assert (row["energy"], row["standard_error"]) == (three.energy, three.standard_error)


def test_seeds_depend_on_the_point_alone():
    one = Job((("a", 1), ("b", "ReLU")), 3)
    other = Job((("b", "ReLU"), ("a", 1)), 3)
    assert one.key == other.key
    assert one.seed(0) == other.seed(0)
    others = [Job(one.settings, 4), Job((("a", 1),), 3)]
    seeds = {one.seed(0), one.seed(1), *(job.seed(0) for job in others)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_same_on_one_worker_on_two_and_on_a_cluster():
    distributed = pytest.importorskip("distributed")
    how = {"what": "decompose", "seeds": 6, "options": Options(batch=2, train=True)}
    alone = sweep(SOURCE, GRID, workers=1, **how)
    assert sweep(SOURCE, GRID, workers=2, **how).rows == alone.rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sockets that Dask leaves to the garbage collector
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address=None
        ) as cluster:
            found = sweep(SOURCE, GRID, scheduler=cluster.scheduler_address, **how)
    assert found.rows == alone.rows


def test_a_bad_point_is_a_row():
    grid = parse_grid(["depth=1,-1,2", "act=ReLU,ReLy"])
    found = sweep(SOURCE, grid, options=FEW, workers=1)
    assert found.failed == 4
    errors = {(row["depth"], row["act"]): row["error"] for row in found.rows}
    assert errors[1, "ReLU"] is None
    assert errors[2, "ReLU"] is None
    assert "by_depth.yaml:" in errors[-1, "ReLU"]
    assert "ReLy" in errors[1, "ReLy"]
    failed = [point for point in found.points if point.failed]
    assert [point.value for point in failed] == [None] * 4


def test_what_is_not_finite_is_a_row():
    grid = parse_grid(["lam=1,1e200"])
    found = sweep(SOURCE, grid, options=FEW, workers=1)
    assert [point.failed for point in found.points] == [0, 1]
    assert "not finite at x" in found.points[1].errors[0]
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["failed"] == 1


def test_a_bad_grid_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr("archgraph.sweeping.run.crew_of", lambda *_: pytest.fail("it ran"))
    with pytest.raises(UsageError, match="no param 'lan'") as caught:
        sweep(SOURCE, {"lan": 1, "wdth": 2}, "predikt", seeds=0)
    assert len(str(caught.value).splitlines()) == 4
    with pytest.raises(UsageError, match="samples belong to predict and measure"):
        sweep(SOURCE, {}, "decompose", options=Options(samples=9))
    with pytest.raises(SpecError, match="archgraph: 1"):
        sweep(Source(b"", "empty.yaml"), {})


def test_a_target_that_is_not_there():
    found = sweep(SOURCE, {}, options=Options(wrt=("y*",)), workers=1)
    assert "no node or parameter y*" in found.rows[0]["error"]
    some = Options(samples=2, wrt=("h.*.weight", "h.0"))
    rows = sweep(SOURCE, {"depth": 2}, options=some, workers=1)
    assert [row["name"] for row in rows.rows] == ["h.0.out", "h.0.F.weight", "h.1.F.weight"]


def test_it_goes_on_where_it_stopped(tmp_path):
    log = tmp_path / "log"
    whole = sweep(SOURCE, GRID, seeds=2, options=FEW, workers=1)

    def interrupt(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(SOURCE, GRID, seeds=2, options=FEW, workers=1, log=log, progress=interrupt)
    seen = []
    found = sweep(
        SOURCE, GRID, seeds=2, options=FEW, workers=1, log=log, progress=lambda *p: seen.append(p)
    )
    assert 0 < seen[0][0] < 8
    assert found.rows == whole.rows
    grid = parse_grid(["depth=1,2,3", "lam=1,0.5"])
    more = sweep(SOURCE, grid, seeds=2, options=FEW, workers=1, log=log)
    by_key = {(r["lam"], r["depth"], r["replicate"]): r for r in more.rows}
    assert all(by_key[r["lam"], r["depth"], r["replicate"]] == {**r} for r in whole.rows)


def test_the_log_of_another_spec_is_refused(tmp_path):
    sweep(SOURCE, {"depth": 1}, options=FEW, workers=1, log=tmp_path / "log")
    changed = Source(RESIDUAL.replace(b"lam*input + F", b"input + F"), "by_depth.yaml")
    with pytest.raises(UsageError, match="what differs: the spec"):
        sweep(changed, {"depth": 1}, options=FEW, workers=1, log=tmp_path / "log")


def test_a_job_that_ends_its_process_is_a_row(tmp_path, monkeypatch):
    (tmp_path / "mortality.py").write_text(textwrap.dedent(MORTAL))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    source = Source(DYING, "dying.yaml", plugins=("mortality",))
    found = sweep(source, {"grim": [1, 2]}, "decompose", workers=2)
    assert [point.failed for point in found.points] == [0, 1]
    assert found.points[1].errors == ("its process died: killed, or out of memory",)


def test_a_script_without_a_guard_is_told_so(tmp_path):
    import subprocess

    script = tmp_path / "script.py"
    script.write_text(
        "from archgraph.sweeping import sweep\n"
        "sweep('residual', {'lam': [0.5, 1]}, 'decompose', workers=2)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'under if __name__ == "__main__":' in done.stderr.splitlines()[-1]


def test_included_files_travel_with_the_spec(tmp_path):
    (tmp_path / "blocks.yaml").write_text("archgraph: 1\nblocks: {b: {layers: {f: Linear(3)}}}\n")
    spec = tmp_path / "spec.yaml"
    spec.write_text("{archgraph: 1, include: [blocks.yaml], inputs: {x: [3]}, layers: {y: b()}}")
    source = read_source(spec)
    digest = source.digest
    (tmp_path / "blocks.yaml").write_text("archgraph: 1\nblocks: {b: {layers: {f: ReLU()}}}\n")
    assert source.load().node("y.f").op.op.name == "Linear"
    assert read_source(spec).digest != digest


# --- points and files ---------------------------------------------------------------------------


def test_points_are_ratios_of_means():
    found = sweep(SOURCE, {"depth": 2}, seeds=5, options=FEW, workers=1)
    (point,) = found.points
    base = np.array([row["reference_energy"] for row in found.rows])
    own = np.array([row["energy"] for row in found.rows]) * base
    assert point.value == pytest.approx(own.mean() / base.mean(), rel=1e-12)
    # The jackknife knows nothing of the formula, and agrees to the order of 1/n.
    leave = [(own.sum() - o) / (base.sum() - b) for o, b in zip(own, base, strict=True)]
    jackknife = math.sqrt(4 / 5 * sum((x - np.mean(leave)) ** 2 for x in leave))
    assert point.standard_error == pytest.approx(jackknife, rel=0.3)


def test_norms_are_root_mean_squares():
    found = sweep(SOURCE, {"depth": 2}, "decompose", seeds=4, workers=1)
    norms = np.array([row["norm"] for row in found.rows if row["kind"] == "gradient"])
    (point,) = found.points
    assert point.value == pytest.approx(math.sqrt((norms**2).mean()), rel=1e-12)
    error = (norms**2).std(ddof=1) / 2 / 2 / point.value
    assert point.standard_error == pytest.approx(error, rel=1e-12)


@pytest.fixture(scope="module")
def small():
    grid = parse_grid(["act=ReLU,Tanh,Nope", "depth=1"])
    return sweep(SOURCE, grid, options=FEW, workers=1)


def test_csv_and_json(small, tmp_path):
    text = small.write(tmp_path / "a.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["act"] for row in rows] == ["ReLU", "Tanh", "Nope"]
    assert float(rows[0]["energy"]) == small.rows[0]["energy"]
    assert rows[2]["energy"] == ""
    assert "Nope" in rows[2]["error"]
    assert json.loads(small.write(tmp_path / "a.json").read_text())["rows"] == small.rows
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.json"]


def test_parquet(small, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(small.write(tmp_path / "a.parquet"))
    assert table.to_pylist() == small.rows
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["act"], types["depth"], types["rms"]) == ("string", "int64", "double")


def test_files_that_cannot_be_written(small, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"must be \.csv, \.json, \.parquet"):
        small.write(tmp_path / "a.txt")
    with pytest.raises(UsageError, match="cannot write"):
        small.write(tmp_path / "no" / "a.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'archgraph-nn\[parquet\]'"):
        small.write(tmp_path / "a.parquet")


def test_no_cluster(monkeypatch):
    with pytest.raises(UsageError, match="leave --workers out"):
        sweep(SOURCE, {}, workers=2, scheduler="tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'archgraph-nn\[dask\]'"):
        sweep(SOURCE, {}, scheduler="tcp://127.0.0.1:1")


def test_nothing_heavy_is_imported():
    import subprocess

    program = (
        "import sys; from archgraph.sweeping import sweep, parse_grid; parse_grid(['a=1,2']);"
        "assert not {'torch', 'numpy', 'matplotlib', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_log_is_read_by_its_own_format(tmp_path):
    sweep(SOURCE, {"depth": [1, 2]}, options=FEW, workers=1, log=tmp_path / "log")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines[0]["what"] == "predict"
    assert [set(line) for line in lines[1:]] == [{"key", "rows", "error"}] * 2
    with Log(tmp_path / "log", lines[0]) as log:
        assert len(log.done) == 2
