"""Run in a process that cannot import mpnn: load files, and compare what they give with what they must give.

    python elsewhere.py FOLDER ENDING [NAME ...]

ENDING is .pt2, .pt, .onnx, or aoti: a .pt2 that AOTInductor compiles.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch

TOLERANCE = {".onnx": 1e-4}  # whose kernels are others


def loaded(path: Path, ending: str) -> Any:
    if ending == ".pt":
        return torch.jit.load(path)
    if ending == ".pt2":
        return torch.export.load(path).module()
    if ending == "aoti":
        compiled = torch._inductor.aoti_compile_and_package(
            torch.export.load(path), package_path=str(path.with_suffix(".aoti.pt2"))
        )
        return torch._inductor.aoti_load_package(compiled)
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    names = [one.name for one in session.get_inputs()]

    def run(*given: torch.Tensor) -> torch.Tensor:
        arrays = {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0])

    return run


def main(home: Path, ending: str, names: list[str]) -> None:
    suffix = ".pt2" if ending == "aoti" else ending
    for name in names or sorted(path.stem for path in home.glob(f"*{suffix}")):
        model = loaded(home / f"{name}{suffix}", ending)
        with torch.no_grad():
            for given, wanted in torch.load(home / f"{name}.wanted"):
                found = model(*given)
                found = found if isinstance(found, torch.Tensor) else found[0]
                shapes = f"{name} {[list(one.shape) for one in given]}"
                torch.testing.assert_close(
                    found, wanted, rtol=0, atol=TOLERANCE.get(ending, 1e-5), msg=f"{{}} of {shapes}".format
                )
        print(name)


if __name__ == "__main__":
    sys.modules["mpnn"] = None  # type: ignore[assignment]  # an import of it fails from now on
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
