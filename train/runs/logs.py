"""Where else the numbers of every epoch go: TensorBoard, Weights & Biases or MLflow, if installed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from mpnn import files
from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.fitting.state import Row
from mpnn.train.runs.settings import Settings

PROJECT = "mpnn"
IDENTITY = "log-id.txt"
MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


class Log:
    """Is told the numbers of every epoch; this one does nothing with them."""

    def row(self, row: Row) -> None:
        """The numbers of an epoch."""

    def close(self) -> None:
        """The run is done."""


def check_log(name: str | None) -> None:
    """Import what is logged to.

    Raises:
        RunError: it is not installed.
    """
    if name is not None:
        try:
            import_module(MODULES[name])
        except ImportError:
            raise RunError(f"log is {name!r}, which is not installed: pip install {name}") from None


def open_log(settings: Settings, home: Path) -> Log:
    """Return the log that the settings ask for; a resumed run goes on with the one of its folder."""
    kinds: dict[str | None, Any] = {"tensorboard": _TensorBoard, "wandb": _Wandb, "mlflow": _MLflow}
    log: Log = kinds[settings.log](settings, home) if settings.log in kinds else Log()
    return log


class _TensorBoard(Log):
    """Events in the folder `tensorboard` of the run."""

    def __init__(self, settings: Settings, home: Path) -> None:
        module = import_module(MODULES["tensorboard"])
        self.writer = module.SummaryWriter(str(home / "tensorboard"))
        self.writer.add_text("settings", f"```json\n{settings.to_json()}```")

    def row(self, row: Row) -> None:
        for name, value in _numbers(row):
            part, _, metric = name.partition("_")
            self.writer.add_scalar(f"{metric}/{part}", value, int(row["epoch"]))

    def close(self) -> None:
        self.writer.close()


class _Wandb(Log):
    """A run of the project `mpnn`."""

    def __init__(self, settings: Settings, home: Path) -> None:
        known = _identity(home)
        again: dict[str, Any] = {} if known is None else {"id": known, "resume": "allow"}
        self.run = import_module("wandb").init(
            project=PROJECT, name=home.name, dir=str(home), config=settings.flat(), **again
        )
        checkpoint.write(home / IDENTITY, self.run.id.encode())

    def row(self, row: Row) -> None:
        self.run.log(dict(_numbers(row)), step=int(row["epoch"]))

    def close(self) -> None:
        self.run.finish()


class _MLflow(Log):
    """A run where `MLFLOW_TRACKING_URI` says, by default below the folder that the command runs in."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self.module, known = import_module("mlflow"), _identity(home)
        run = self.module.start_run(run_id=known, run_name=None if known else home.name)
        checkpoint.write(home / IDENTITY, run.info.run_id.encode())
        if known is None:
            self.module.log_params(settings.flat())

    def row(self, row: Row) -> None:
        self.module.log_metrics(dict(_numbers(row)), step=int(row["epoch"]))

    def close(self) -> None:
        self.module.end_run()


def _identity(home: Path) -> str | None:
    """What the log calls the run in this folder, if it knows it."""
    path = home / IDENTITY
    if not path.exists():
        return None
    try:
        return files.read(path, RunError).decode().strip()
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error


def _numbers(row: Row) -> list[tuple[str, float]]:
    return [(name, value) for name, value in row.items() if name != "epoch"]
