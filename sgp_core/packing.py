"""Linear layers in half precision, where reading the weights is what takes the time (docs/performance.md).

A product of a few rows with a matrix of 1024 x 1024 does next to no arithmetic per weight: it takes as long as reading
4 MB. In half precision it is 2 MB, and the matrices of a whole plan then stay in the cache. The kernels are fbgemm's,
which torch brings on x86; elsewhere, and for small layers, single precision stays.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

LayerOf = Callable[[Tensor, Tensor | None], nn.Module]
PACKED_FROM = 512  # smaller matrices stay in a core's own cache as they are


class PlainLinear(nn.Module):
    """x W^T + b in single precision."""

    turned: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        # For a few rows a product with a matrix that lies this way is a quarter faster.
        self.register_buffer("turned", weight.t().contiguous())
        self.register_buffer("bias", torch.zeros(len(weight)) if bias is None else bias)
        self.bytes_read = weight.numel() * weight.element_size()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in) to (B, out)."""
        return torch.addmm(self.bias, x, self.turned)


class HalfLinear(nn.Module):
    """The same with weights in half precision; sums stay in single precision."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.bytes_read = 2 * weight.numel()
        # A copy, because packing cuts what half precision cannot hold off in place.
        self.packed = torch.ops.quantized.linear_prepack_fp16(weight.contiguous().clone(), bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in) to (B, out)."""
        found: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, self.packed)
        return found


def plain(weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A layer as it is in the file."""
    return PlainLinear(weight, bias)


def half(weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A layer in half precision, where it is worth it and this torch has the kernels."""
    if min(weight.shape) < PACKED_FROM or "fbgemm" not in torch.backends.quantized.supported_engines:
        return PlainLinear(weight, bias)
    engine = torch.backends.quantized.engine
    try:
        torch.backends.quantized.engine = "fbgemm"
        return HalfLinear(weight, bias)
    except (AttributeError, RuntimeError):  # a torch without these kernels
        return PlainLinear(weight, bias)
    finally:
        torch.backends.quantized.engine = engine


# How far a network's outputs may be from those of its file, as a share of their norm.
TOLERANCES: dict[LayerOf, float] = {plain: 1e-4, half: 2e-3}


def bytes_of(model: nn.Module) -> int:
    """What has to be read of the weights of all layers of a model."""
    return sum(layer.bytes_read for layer in model.modules() if isinstance(layer, PlainLinear | HalfLinear))
