"""The table of a run: a row per layer, as CSV and JSON."""

from __future__ import annotations

import dataclasses
import html
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from labkit import files
from labkit.hwce import cost
from labkit.hwce.config import BASIS
from labkit.hwce.operations import Activation
from labkit.hwce.plan import Plan

#: Columns that may be added up over the layers.
SUMMED = (
    "MACs", "jobs", "cycles", "cycles: weights", "cycles: fill", "cycles: run", "cycles: stalls",
    "cycles: drain", "cycles: cores", "energy, lowest (µJ)", "energy, highest (µJ)",
    "energy, parametric (µJ)", "energy, float (µJ)", "energy, weights from DRAM (µJ)",
    "weights (bytes)", "weights, ideal (bytes)", "L2-L1 traffic (bytes)", "padding (pixels)",
    "dropped outputs", "saturations", "clips", "overflows",
)  # fmt: skip


def costs(work: cost.Work) -> dict:
    """The analytic part of a row: one image."""
    cycles, energy, memory = cost.cycles(work), cost.energy(work), cost.memory(work)
    kernel = "x".join(map(str, work.geometry.kernel))
    native = "x".join(map(str, work.parts.native)) if work.on_engine else ""
    lowest, highest = energy.range
    tiling = memory.tiling
    return {
        "unit": work.parts.unit,
        "filter": kernel,
        "native filter": native,
        "passes": len(work.parts.passes),
        "lanes": work.lanes,
        "jobs": work.jobs,
        "MACs": work.geometry.macs,
        "cycles": cycles.total,
        **{f"cycles: {name}": value for name, value in dataclasses.asdict(cycles).items()},
        "energy, lowest (µJ)": lowest,
        "energy, highest (µJ)": highest,
        "energy, parametric (µJ)": energy.arithmetic,
        "energy, float (µJ)": energy.float_arithmetic,
        "energy, weights from DRAM (µJ)": energy.weights_from_dram,
        "weights (bytes)": memory.weights,
        "weights, ideal (bytes)": memory.weights_ideal,
        "input (bytes)": memory.input,
        "input, ideal (bytes)": memory.input_ideal,
        "output (bytes)": memory.output,
        "output, ideal (bytes)": memory.output_ideal,
        "L1 (bytes)": tiling.bytes,
        "tile rows": tiling.rows,
        "tiles": tiling.tiles,
        "L2-L1 traffic (bytes)": tiling.traffic_bytes,
        "fits L2": memory.fits_l2,
        "padding (pixels)": work.padding_pixels,
        "dropped outputs": work.dropped_outputs,
    }


@dataclass
class NetworkResult:
    """What a run gave.

    Args:
        outputs: of the network, real numbers (N, ...).
        table: a row per layer; costs are those of one image, counts those of all images.
            Saturations are those of the engine's 16-bit words, on their way; clips are outputs that
            their format does not hold, wherever they were computed.
        plan: what was run.
        images: how many.
        activations: name → output of the layers that `run` was asked to keep.
    """

    outputs: np.ndarray
    table: pd.DataFrame
    plan: Plan
    images: int
    activations: dict[str, Activation] = field(default_factory=dict)

    @property
    def basis(self) -> str:
        """What cycles, energy and memory rest on, in one line."""
        anchors = sorted(anchor.pj_per_mac for anchor in cost.ANCHORS.values())
        return (
            f"{self.plan.config.name}; cycles, energy and memory of one image: {BASIS}; energy "
            f"from {anchors[0]:g} to {anchors[-1]:g} pJ a MAC ({', '.join(cost.ANCHORS)})."
        )

    def __str__(self) -> str:
        """The table, and what it rests on."""
        return f"{self.table.to_string(index=False)}\n{self.basis}"

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return f"{self.table._repr_html_()}<p>{html.escape(self.basis)}</p>"

    @property
    def totals(self) -> dict[str, float]:
        """Sums over the layers: cycles, energy (lowest and highest), weights, saturations."""
        columns = [c for c in SUMMED if c in self.table]
        sums = {column: self.table[column].sum().item() for column in columns}
        # Layers without costs make the counts of the others floats.
        return {name: s if "µJ" in name else int(s) for name, s in sums.items()}

    def to_csv(self, path: str | Path) -> Path:
        """Write the table, each row with the basis of its figures."""
        return files.write_text(path, self.table.assign(basis=BASIS).to_csv(index=False))

    def as_dict(self) -> dict:
        """For JSON: table, totals, plan and the sources of the energy figures."""
        return {
            "basis": BASIS,
            "images": self.images,
            "plan": self.plan.as_dict(),
            "energy_anchors": {k: dataclasses.asdict(a) for k, a in cost.ANCHORS.items()},
            "totals": self.totals,
            "layers": json.loads(self.table.to_json(orient="records")),
        }

    def to_json(self, path: str | Path) -> Path:
        """Write what `as_dict` gives."""
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
        return files.write_text(path, text + "\n")
