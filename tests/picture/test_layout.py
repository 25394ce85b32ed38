"""Which Graphviz draws, and what happens when none can."""

import pickle
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archgraph.errors import ArchgraphError, UsageError
from archgraph.picture.diagram import diagram
from archgraph.picture.layout import LayoutError, layout
from tests.picture import networks

DOT = 'digraph { a [label="a"]; b [label="b"]; a -> b }'


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """Return a function that puts a shell script called `dot` on an otherwise empty PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}")

    def install(script):
        program = folder / "dot"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return folder

    return install


def test_the_dot_on_the_path_comes_first(on_path):
    on_path('echo "drawn by $*"')
    assert layout(DOT, "svg") == b"drawn by -Tsvg\n"
    assert layout(DOT, "png") == b"drawn by -Tpng -Gdpi=144\n"


def test_without_dot_the_wheel_draws(on_path):
    on_path("exit 0").joinpath("dot").unlink()
    assert b"<svg" in layout(DOT, "svg")


@pytest.mark.parametrize("script", ["echo broken >&2; exit 1", "exit 0", "echo partial; exit 3"])
def test_a_dot_that_fails_gives_way_to_the_wheel(on_path, script):
    on_path(script)
    assert b"<svg" in layout(DOT, "svg")


def test_a_dot_that_cannot_start_gives_way_to_the_wheel(on_path):
    folder = on_path("")
    folder.joinpath("dot").write_bytes(b"\x7fELF not a program")
    assert b"<svg" in layout(DOT, "svg")


@pytest.mark.parametrize("sleep", ["exec /bin/sleep 30", "/bin/sleep 30; true"])
def test_a_layout_that_hangs_is_ended_retried_and_reported(on_path, tmp_path, sleep):
    log = tmp_path / "log"
    on_path(f'echo "$*" >> {log}\n{sleep}')
    start = time.monotonic()
    with pytest.raises(
        LayoutError, match=r"more than 0\.5 s, twice; the DOT text is kept"
    ) as error:
        layout(DOT, "svg", timeout_seconds=0.5)
    assert time.monotonic() - start < 10
    assert error.value.dot == DOT
    assert isinstance(error.value, ArchgraphError)
    tries = log.read_text().splitlines()
    assert tries == ["-Tsvg", "-Tsvg -Gnslimit=1 -Gnslimit1=1 -Gmclimit=0.1"]


def test_children_of_a_wrapper_are_ended_too(on_path, tmp_path):
    pid = tmp_path / "pid"
    on_path(f"/bin/sleep 30 & echo $! > {pid}\nwait")
    with pytest.raises(LayoutError, match="twice"):
        layout(DOT, "svg", timeout_seconds=0.5)
    status = Path(f"/proc/{int(pid.read_text())}/stat")
    deadline = time.monotonic() + 5
    while status.exists() and status.read_text().split()[2] not in "ZX":
        assert time.monotonic() < deadline, "the child still runs"
        time.sleep(0.05)


def test_a_slow_layout_succeeds_with_bounds(on_path):
    on_path('case "$*" in *nslimit1*) echo quick;; *) exec /bin/sleep 30;; esac')
    assert layout(DOT, "svg", timeout_seconds=0.5) == b"quick\n"


def test_the_wheel_takes_the_bounds_too():
    drawn = subprocess.run(
        [sys.executable, "-m", "archgraph.picture.wheel", "svg", "nslimit=1", "mclimit=0.1"],
        input=DOT.encode(),
        capture_output=True,
        check=True,
    )
    assert b"<svg" in drawn.stdout


def test_dot_text_that_is_no_graph_is_refused_in_one_line(on_path):
    on_path("exit 0").joinpath("dot").unlink()
    with pytest.raises(LayoutError, match="Graphviz refused the drawing") as error:
        layout("digraph {", "svg")
    assert "\n" not in str(error.value)
    assert "Traceback" not in str(error.value)


def test_no_graphviz_at_all_is_said(on_path, tmp_path, monkeypatch):
    on_path("exit 0").joinpath("dot").unlink()
    stub = tmp_path / "stub"
    stub.mkdir()
    stub.joinpath("pygraphviz.py").write_text("raise ImportError('gone')\n")
    monkeypatch.setenv("PYTHONPATH", str(stub))
    with pytest.raises(LayoutError, match="no dot program on PATH, and the package pygraphviz"):
        layout(DOT, "svg")


def test_a_machine_without_fonts_draws_svg_but_no_letters_of_boxes(on_path, tmp_path, monkeypatch):
    on_path("exit 0").joinpath("dot").unlink()
    settings = tmp_path / "fonts.conf"
    settings.write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">'
        f"<fontconfig><dir>{tmp_path}/none</dir></fontconfig>"
    )
    monkeypatch.setenv("FONTCONFIG_FILE", str(settings))
    assert b"<svg" in layout(DOT, "svg")
    for picture_format in ("png", "pdf"):
        with pytest.raises(LayoutError, match=r"has no fonts.* draw an \.svg"):
            layout(DOT, picture_format)


def test_an_unknown_format_names_the_known_ones():
    with pytest.raises(UsageError, match="'gif'; known are svg, png, pdf, dot"):
        layout(DOT, "gif")


def test_dot_is_the_text_itself():
    assert layout("digraph { λ }", "dot") == "digraph { λ }".encode()


def test_a_layout_error_survives_pickling():
    error = pickle.loads(pickle.dumps(LayoutError("too slow", DOT)))
    assert (str(error), error.dot) == ("too slow", DOT)


def test_a_deep_network_is_drawn_in_time():
    start = time.monotonic()
    assert b"<svg" in layout(diagram(networks.scaled_residual(150)), "svg")
    assert time.monotonic() - start < 5


def test_nothing_imports_torch(tmp_path):
    script = (
        "import sys; sys.modules['torch'] = None; sys.modules['numpy'] = None\n"
        "from tests.picture.networks import residual, residual_flow\n"
        "from archgraph.picture import render\n"
        "for suffix in ('svg', 'png', 'dot'):\n"
        "    render(residual(), f'{sys.argv[1]}/x.{suffix}', flow=residual_flow())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
