"""What a row gathers, as C: an empty row, two parts of one row, a finished row."""

# ruff: noqa: E501 (a line of C stays a line)

from __future__ import annotations

import torch

from mpnn.plan.ir import Program

STORAGE = {
    torch.float32: "float",
    torch.float64: "double",
    torch.bfloat16: "bfloat16",
    torch.float16: "_Float16",
    torch.bool: "uint8_t",
}

# What an empty reduction is.
IDENTITY = {"sum": "0", "mean": "0", "max": "-INFINITY", "min": "INFINITY"}


class Accumulators:
    """The reductions of one program. With `save`, what the backward pass needs is kept and written too."""

    def __init__(self, program: Program, *, save: bool) -> None:
        self.program, self.save = program, save

    def state(self) -> str:
        """The struct, and how an empty row begins."""
        fields, initial = [], []
        for k, output in enumerate(self.program.outputs):
            size = output.value.size
            if output.kind in ("sum", "mean", "max", "min"):
                fields.append(f"real a{k}[{size}];")
                initial.append(f"FILL(s->a{k}, {size}, {IDENTITY[output.kind]});")
            if output.kind in ("max", "min") and self.save:
                fields.append(f"real n{k}[{size}];")
                initial.append(f"FILL(s->n{k}, {size}, 0);")
            if output.score is not None:
                heads = output.score.size
                fields.append(f"real a{k}[{size}], top{k}[{heads}], total{k}[{heads}];")
                initial.append(
                    f"FILL(s->a{k}, {size}, 0); FILL(s->top{k}, {heads}, -INFINITY); "
                    f"FILL(s->total{k}, {heads}, 0);"
                )
        return (
            "/* what a row has gathered so far */\n"
            f"typedef struct {{ {' '.join(fields) or 'char nothing;'} }} State;\n"
            f"static inline void start(State *restrict s) {{ {' '.join(initial)} }}\n"
        )

    def finish(self) -> str:
        """How a row that has seen all of its edges is written."""
        lines = []
        for k, output in enumerate(self.program.outputs):
            if output.kind in ("edge", "all") or (output.score or output.value).size == 0:
                continue
            size, storage = output.value.size, STORAGE[output.dtype]
            value = f"s->a{k}[i]"
            if output.kind in ("max", "min"):
                value = f"(count ? {value} : 0)"
            if output.kind == "mean":
                value = f"({value} * (count ? (real)1 / count : 0))"
            if output.score is not None:
                total = f"s->total{k}[i / {max(size // output.score.size, 1)}]"
                value = f"({total} == 0 ? 0 : {value} / {total})"  # no edge, or none with a weight
            lines.append(
                f"    {storage} *restrict o{k} = ({storage} *)a->out[{self.program.tensor_of(k)}] + (size_t)row * {size};"
            )
            lines.append(f"    for (int i = 0; i < {size}; i++) STORE(o{k}[i], {value});")
            if self.save and output.kind in ("max", "min"):
                lines.append(
                    f"    real *restrict t{k} = (real *)a->out[{self.program.tensor_of(k) + 1}] + (size_t)row * {size};"
                )
                lines.append(
                    f"    for (int i = 0; i < {size}; i++) t{k}[i] = !count ? 1 : s->a{k}[i] == s->a{k}[i] ? s->n{k}[i] : NAN;"
                )
            if self.save and output.score is not None:
                heads, tensor = output.score.size, self.program.tensor_of(k)
                lines += [
                    f"    real *restrict t{k} = (real *)a->out[{tensor + 1}] + (size_t)row * {heads};",
                    f"    real *restrict u{k} = (real *)a->out[{tensor + 2}] + (size_t)row * {heads};",
                    f"    for (int i = 0; i < {heads}; i++) {{",
                    f"        t{k}[i] = s->total{k}[i] == 0 ? 0 : s->top{k}[i];",
                    f"        u{k}[i] = s->total{k}[i] == 0 ? 0 : share_of(count) / s->total{k}[i];",
                    "    }",
                ]
        return (
            "/* write a row that has seen all of its `count` edges */\n"
            "static inline void finish(const Args *restrict a, const State *restrict s, int64_t row, int64_t count)\n{\n"
            + "\n".join(lines)
            + "\n    (void)a; (void)s; (void)row; (void)count;\n}\n"
        )

    def combine(self) -> str:
        """How two parts of one row become one."""
        lines = []
        for k, output in enumerate(self.program.outputs):
            size = output.value.size
            if output.kind in ("sum", "mean"):
                lines.append(f"    for (int i = 0; i < {size}; i++) s->a{k}[i] += t->a{k}[i];")
            elif output.kind in ("max", "min"):
                better = ">" if output.kind == "max" else "<"
                lines.append(f"    for (int i = 0; i < {size}; i++) {{")
                lines.append(
                    f"        const int better = t->a{k}[i] {better} s->a{k}[i] || t->a{k}[i] != t->a{k}[i];"
                )
                if self.save:
                    lines.append(
                        f"        if (t->a{k}[i] == s->a{k}[i]) s->n{k}[i] += t->n{k}[i]; else if (better) s->n{k}[i] = t->n{k}[i];"
                    )
                lines.append(f"        if (better) s->a{k}[i] = t->a{k}[i];")
                lines.append("    }")
            elif output.score is not None:
                heads, width = output.score.size, size // max(output.score.size, 1)
                lines += [
                    f"    for (int h = 0; h < {heads}; h++) {{",
                    f"        const real top = s->top{k}[h] > t->top{k}[h] ? s->top{k}[h] : t->top{k}[h];",
                    f"        const real p = s->top{k}[h] == top ? 1 : real_exp(s->top{k}[h] - top);",
                    f"        const real q = t->top{k}[h] == top ? 1 : real_exp(t->top{k}[h] - top);",
                    f"        s->top{k}[h] = top; s->total{k}[h] = s->total{k}[h] * p + t->total{k}[h] * q;",
                    f"        for (int c = h * {width}; c < (h + 1) * {width}; c++) s->a{k}[c] = s->a{k}[c] * p + t->a{k}[c] * q;",
                    "    }",
                ]
        return (
            "/* two parts of one row become one */\n"
            "static inline void combine(State *restrict s, const State *restrict t)\n{\n"
            + "\n".join(lines)
            + "\n    (void)s; (void)t;\n}\n"
        )

    def all_offset(self, k: int) -> int:
        """Where an output that is summed over all edges begins among those."""
        return sum(o.value.size for o in self.program.outputs[:k] if o.kind == "all")

    def finish_all(self) -> str:
        """How what is summed over all edges is written."""
        size = sum(o.value.size for o in self.program.outputs if o.kind == "all")
        lines = [
            f"    for (int i = 0; i < {o.value.size}; i++) STORE((({STORAGE[o.dtype]} *)a->out[{self.program.tensor_of(k)}])[i], all[{self.all_offset(k)} + i]);"
            for k, o in enumerate(self.program.outputs)
            if o.kind == "all"
        ]
        return (
            f"enum {{ ALL = {size} }};\n"
            "/* write what is summed over all edges */\n"
            "static inline void finish_all(const Args *restrict a, const real *restrict all)\n{\n"
            + "\n".join(lines)
            + "\n    (void)a; (void)all;\n}\n"
        )
