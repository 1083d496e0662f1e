"""The command, as a person uses it and as a person misuses it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from mpnn.datasets import DATASETS, NodeDataset
from mpnn.datasets.karate import load_karate
from mpnn.train.command import cli, progress
from mpnn.train.command.display import Display
from tests.train.conftest import Complaint

KARATE = ["train", "node", "--dataset", "karate", "--epochs", "15"]


@pytest.fixture(autouse=True)
def no_data_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPNN_DATA", raising=False)


def test_the_demo_names_its_result_and_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "node", "--dataset", "karate"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "karate: 34 nodes, 156 edges" in out
    accuracy = re.search(r"gcn on karate: test accuracy (\d+\.\d) %", out)
    assert accuracy is not None and float(accuracy[1]) > 80
    assert "runs/node-karate-gcn" in out
    for file in (tmp_path / "runs/node-karate-gcn").iterdir():
        assert file.name in out


@pytest.mark.parametrize("flags", [["--help"], ["datasets"], ["models"], ["train", "node", "--modle", "gat"]])
def test_what_trains_and_draws_nothing_waits_for_no_library_that_does(flags: list[str]) -> None:
    script = (
        "import sys\nfrom mpnn.train.command.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print('loaded:', *{'sklearn', 'matplotlib', 'torch_geometric', 'triton'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script, *flags], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_flags_override_what_was_published(tmp_path: Path) -> None:
    flags = ["--model", "gat", "--heads", "2", "--lr", "0.02", "--residual", "--no-pictures", "--seed", "3"]
    assert cli.main([*KARATE, *flags, "--out", str(tmp_path)]) == 0
    settings = json.loads((tmp_path / "config.json").read_text())
    found = {name: settings[name] for name in ("heads", "lr", "residual", "seed", "epochs", "dropout", "act")}
    assert found == {
        "heads": 2,
        "lr": 0.02,
        "residual": True,
        "seed": 3,
        "epochs": 15,
        "dropout": 0.6,
        "act": "elu",
    }
    assert not (tmp_path / "curves.png").exists()


def test_several_runs_end_with_mean_and_deviation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*KARATE, "--runs", "3", "--no-pictures", "--out", str(tmp_path)]) == 0
    out, _ = capsys.readouterr()
    assert re.search(r"gcn on karate: test accuracy \d+\.\d ± \d+\.\d % \(3 runs\)", out)
    assert len(re.findall(r"^[012] +15 ", out, flags=re.MULTILINE)) == 3


def test_ctrl_c_saves_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(display: Display, row: dict[str, float]) -> None:
        if row["epoch"] == 6:
            os.kill(os.getpid(), signal.SIGINT)

    home = str(tmp_path / "broken")
    monkeypatch.setattr(Display, "epoch", press)
    assert cli.main([*KARATE, "--no-pictures", "--out", home]) == 130
    assert f"go on with: mpnn train node --resume {home}" in capsys.readouterr().err
    monkeypatch.undo()
    assert cli.main(["train", "node", "--resume", home, "--no-pictures"]) == 0
    assert cli.main([*KARATE, "--no-pictures", "--out", str(tmp_path / "whole")]) == 0
    assert (tmp_path / "broken/metrics.csv").read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()


def test_ctrl_c_works_on_the_real_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; from mpnn.train.command.cli import main; sys.exit(main())"]
    flags = ["train", "node", "--epochs", "1000000", "--out", str(tmp_path / "run")]
    with subprocess.Popen(
        [*command, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A process in the background is born deaf to SIGINT, and so are its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert b"karate" in process.stdout.readline()
        assert b"gcn" in process.stdout.readline()
        while not (tmp_path / "run" / "metrics.csv").exists():  # from here on it trains
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        complaint = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 130
    assert "Traceback" not in complaint
    assert f"go on with: mpnn train node --resume {tmp_path / 'run'}" in complaint


def test_a_resumed_run_takes_only_some_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*KARATE, "--no-pictures", "--out", str(tmp_path)]) == 0
    assert cli.main(["train", "node", "--resume", str(tmp_path), "--epochs", "20", "--no-pictures"]) == 0
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 21
    capsys.readouterr()
    assert cli.main(["train", "node", "--resume", str(tmp_path), "--lr", "3"]) == 2
    assert "may change only data, device, epochs" in capsys.readouterr().err


MISTAKES: list[tuple[list[str], str]] = [
    (["--device", "meta"], "device is 'meta', which this machine or this PyTorch does not have"),
    (["--hidden", "9999999999"], "hidden is 9999999999, but should be at most 2147483647"),
    (["--folds", "100000000"], "folds is 100000000, but there is a class of 17 nodes: take fewer folds"),
    (["--dataset", "karat"], "dataset is 'karat', but should be one of karate, cora, citeseer, pubmed"),
    (["--model", "gnc"], "model is 'gnc', but should be one of gnn, gcn, "),
    (["--heads", "4"], "heads is 4, but gcn has no heads: gat, "),
    (["--epochs", "0"], "epochs is 0, but should be at least 1"),
    (["--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
    (["--monitor", "f1"], "argument --monitor: invalid choice: 'f1'"),
    (["--dropout", "1.5"], "dropout is 1.5, but should be below 1"),
    (["--data", "/no/such/folder"], "data is '/no/such/folder', but karate is embedded and reads no files"),
    (["--dataset", "cora", "--data", "/no/such/folder"], "data is '/no/such/folder', but should be a folder"),
    (["--device", "toaster"], "device is 'toaster', which this machine"),
    (["--resume", "/no/such/run"], "/no/such/run holds no run"),
    (["--out", "/dev/null/run"], "run folder /dev/null/run cannot be made: Not a directory"),
    (["--colour"], "unrecognized arguments: --colour"),
]


@pytest.mark.parametrize(("flags", "sentence"), MISTAKES, ids=lambda value: " ".join(value))
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: Complaint, flags: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in complaint(
        "train", "node", *flags, silent="--lr" not in flags
    )  # a rate fails in training


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000 bytes."),
        RuntimeError("could not create a primitive"),
        ImportError("_streams.so: failed to map segment from shared object"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_too_little_memory_is_a_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def build(*_: Any) -> None:
        raise error

    monkeypatch.setattr("mpnn.train.runs.run.build_model", build)
    assert cli.main(KARATE) == 2
    assert capsys.readouterr().err.startswith("mpnn: memory is used up: take less at once")
    monkeypatch.setattr("mpnn.train.runs.run.build_model", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(KARATE)


def test_a_training_that_diverges_is_no_mistake_of_the_user_and_keeps_its_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "run"
    assert cli.main([*KARATE, "--lr", "1e30", "--epochs", "50", "--out", str(home)]) == 1
    assert "loss became nan in epoch " in capsys.readouterr().err
    *_, last = (home / "metrics.csv").read_text().splitlines()
    assert "nan" in last.split(",")


def test_a_warning_is_a_sentence_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_nan(*_: object, **__: object) -> NodeDataset:
        club = load_karate()
        club.x[5, 5] = float("nan")
        return club

    monkeypatch.setattr("mpnn.train.runs.run.load", with_nan)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main([*KARATE, "--runs", "2", "--out", str(tmp_path / "run")]) == 1
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith("mpnn: warning: x of karate holds 1 values that are NaN or infinite")
    assert error.startswith("mpnn: the loss became nan in epoch 1")


def test_the_bar_shows_loss_and_accuracy_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert cli.main([*KARATE, "--runs", "2", "--no-pictures", "--out", str(tmp_path)]) == 0
    err = capsys.readouterr().err
    assert "run 2/2" in err
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", err)
    assert re.search(r"15/15 loss 0\.\d{3}  val accuracy +\d+\.\d %", plain)


def test_where_there_is_no_terminal_a_line_now_and_then_says_how_far_a_run_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 10.0)
    clock = iter(range(0, 10_000, 4))  # it is read when a run begins, at each epoch, and after each line
    monkeypatch.setattr(progress, "monotonic", lambda: float(next(clock)))
    assert cli.main([*KARATE, "--no-pictures", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["3/15", "6/15", "9/15", "12/15", "15/15"]
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    names, third = rows[0].split(","), [float(cell) for cell in rows[3].split(",")]
    row = dict(zip(names, third, strict=True))
    accuracy = f"{100 * row['val_accuracy']:.1f} %"
    assert lines[0] == f"training: 3/15  loss {row['train_loss']:.3f}  val accuracy {accuracy:>7}"


@pytest.mark.parametrize("flags", [["--help"], ["train", "node", "--help"], ["--version"]])
def test_help_is_printed_and_ends_with_code_0(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(flags)
    assert ended.value.code == 0
    assert "mpnn" in capsys.readouterr().out


def test_every_flag_is_a_setting() -> None:
    parsed: dict[str, Any] = vars(cli.make_parser().parse_args(["train", "node"]))
    assert set(parsed) == {"command", "task"}


@pytest.mark.parametrize(
    ("dataset", "task"),
    [(name, task) for name, entry in DATASETS.items() if not entry.reads_files for task in entry.tasks],
)
def test_every_data_set_without_files_trains_by_default(tmp_path: Path, dataset: str, task: str) -> None:
    flags = ["--dataset", dataset, "--epochs", "1", "--no-pictures", "--out", str(tmp_path / "run")]
    assert cli.main(["train", task, *flags]) == 0


def test_labels_of_edges_are_learned_by_a_layer_unless_another_model_is_named(tmp_path: Path) -> None:
    rows = "".join(f"{k},{(k + 1) % 30},{'yes' if k % 2 else 'no'}\n" for k in range(30))
    (tmp_path / "net.csv").write_text("a,b,trust\n" + rows)
    flags = [
        "train",
        "edge",
        "--dataset",
        str(tmp_path / "net.csv"),
        "--edge-label",
        "trust",
        "--no-pictures",
    ]
    assert cli.main([*flags, "--epochs", "2", "--out", str(tmp_path / "run")]) == 0
    assert cli.main([*flags, "--model", "gae"]) == 2


def test_autoencoders_leave_features_of_ones_own_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text("a,b\n" + "".join(f"{k},{(k + 1) % 30}\n" for k in range(30)))
    (tmp_path / "nodes.csv").write_text("name,x\n" + "".join(f"{k},{k - 15}\n" for k in range(30)))
    flags = ["--dataset", str(tmp_path / "net.csv"), "--nodes", str(tmp_path / "nodes.csv")]
    assert (
        cli.main(["train", "edge", *flags, "--epochs", "2", "--no-pictures", "--out", str(tmp_path / "run")])
        == 0
    )


def test_pictures_are_saved_as_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["train", "node", "--dataset", "karate", "--epochs", "2", "--pictures", "pdf"]
    assert cli.main([*flags, "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "curves.pdf").exists() and not (tmp_path / "run" / "curves.png").exists()
    assert "curves.pdf" in capsys.readouterr().out
    assert cli.main([*flags, "--no-pictures"]) == 2
    assert capsys.readouterr().err.startswith("mpnn: pictures is 'pdf', but with no_pictures")


def test_tables_are_not_broken_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["datasets"]) == 0
    assert "Zachary's karate club: 34 members, 2 clubs; embedded, no files" in capsys.readouterr().out


def test_a_run_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "runs/none"]) == 2
    assert "runs/none holds no run" in capsys.readouterr().err


@pytest.mark.filterwarnings("always:gcn reads no features")
def test_features_of_edges_are_not_left_out_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.csv").write_text("a,b,w\n" + "".join(f"{k},{(k + 1) % 30},{k}\n" for k in range(30)))
    flags = ["train", "edge", "--dataset", str(tmp_path / "net.csv"), "--epochs", "2", "--no-pictures"]
    for model, words in (("gcn", "mpnn: warning: gcn reads no features of edges"), ("gine", "")):
        assert cli.main([*flags, "--model", model, "--out", str(tmp_path / model)]) == 0
        assert capsys.readouterr().err.startswith(words)
    assert cli.main([*flags, "--model", "gcn", "--ignore", "w", "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().err == ""
