"""Convolutions of 3 x 3 with fewer multiplications on a CPU: the minimal filtering of Winograd (Lavin and Gray 2015,
arXiv:1509.09308), which PyTorch has on GPUs and not here.

Four outputs in a row need 6 multiplications instead of 12, a tile of 4 x 4 outputs 36 instead of 144. Input, filter and
output pass through fixed matrices on their way there and back: y = A^T [(G w G^T) * (B^T x B)] A (eq. 8).
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE, TAPS = 4, 3
"""Outputs of a tile, and taps of a filter, each way. Larger tiles need fewer multiplications and lose more digits."""

SIDE = TILE + TAPS - 1
"""Pixels that a tile is computed from, each way."""

CHANNELS, TILES = 128, 64
"""From how many channels, in and out, and tiles of a batch on it is faster (`benchmarks/README.md`)."""


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """B^T (36 x 36), G (36 x 9) and A^T (16 x 36) of eq. 8 for a plane: what they do to rows times (Kronecker) what
    they do to columns, float32."""
    points = np.array([0.0, 1.0, -1.0, 2.0, -2.0])  # and infinity: where the polynomials behind it are evaluated
    others = [np.delete(points, i) for i in range(len(points))]
    # Toom and Cook's product of polynomials, transposed: rows of B^T are coefficients of the products of (x - another
    # point), those of G and the columns of A^T powers of the points.
    b = [*(np.append(np.poly(other)[::-1], 0) for other in others), np.poly(points)[::-1]]
    g = [*(p ** np.arange(TAPS) / np.prod(p - other) for p, other in zip(points, others, strict=True)),
         np.eye(TAPS)[-1]]
    a = [*(p ** np.arange(TILE) for p in points), np.eye(TILE)[-1]]

    def of_planes(rows: Any) -> Tensor:
        return torch.from_numpy(np.kron(rows, rows)).float()
    return of_planes(np.stack(b)), of_planes(np.stack(g)), of_planes(np.stack(a, 1))


B, G, A = _matrices()


def layers(model: nn.Module) -> list[nn.Conv2d]:
    """The layers that can be computed like this and have the channels for it."""
    return [layer for layer in model.modules()
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (TAPS, TAPS)
            and layer.stride == layer.dilation == (1, 1) and layer.groups == 1 and not isinstance(layer.padding, str)
            and min(layer.in_channels, layer.out_channels) >= CHANNELS and "forward" not in vars(layer)
            # Else it computes something of its own.
            and type(layer).forward is nn.Conv2d.forward and type(layer)._conv_forward is nn.Conv2d._conv_forward]


@contextlib.contextmanager
def quick(chosen: Sequence[nn.Conv2d]) -> Iterator[None]:
    """Within it, these `layers` compute like this where that is faster, with the same results to rounding: on a CPU, in
    float32, with many tiles."""
    for layer in chosen:
        vars(layer)["forward"] = functools.partial(_forward, layer)
    try:
        yield
    finally:
        for layer in chosen:
            del vars(layer)["forward"]


def _forward(layer: nn.Conv2d, x: Tensor) -> Tensor:
    up, left = int(layer.padding[0]), int(layer.padding[1])
    height, width = x.shape[-2] + 2 * up - TAPS + 1, x.shape[-1] + 2 * left - TAPS + 1
    if x.ndim != 4 or x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu") or \
            height % TILE or width % TILE or len(x) * height * width < TILES * TILE ** 2:
        return nn.Conv2d.forward(layer, x)
    if up or left:
        x = F.pad(x, (left, left, up, up), "constant" if layer.padding_mode == "zeros" else layer.padding_mode)
    return Convolution.apply(x, layer.weight, layer.bias)


class Convolution(torch.autograd.Function):
    """x (N x C x H+2 x W+2), w (K x C x 3 x 3) and offsets (K) or None to N x K x H x W, H and W multiples of 4."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx: Any, x: Tensor, w: Tensor, offsets: Tensor | None) -> Tensor:
        (n, c, height, width), k = x.shape, len(w)
        height, width = height - TAPS + 1, width - TAPS + 1
        rows, columns = height // TILE, width // TILE
        # Channels come last within: what is read and written together then lies together.
        tiles = _under(x.permute(0, 2, 3, 1).contiguous(), rows, columns)
        v = (B @ tiles.reshape(SIDE ** 2, -1)).view(SIDE ** 2, -1, c)
        u = (G @ w.permute(2, 3, 0, 1).reshape(TAPS ** 2, -1)).view(SIDE ** 2, k, c)
        tiles = (A @ (v @ u.transpose(1, 2)).view(SIDE ** 2, -1)).view(TILE, TILE, n, rows, columns, k)
        ctx.save_for_backward(x, w, u if ctx.needs_input_grad[0] else None, v if ctx.needs_input_grad[1] else None)
        last = any(not t.is_contiguous() and t.is_contiguous(memory_format=torch.channels_last) for t in (x, w))
        y = _as(tiles.permute(2, 3, 0, 4, 1, 5).reshape(n, height, width, k), last)
        return y if offsets is None else y.add_(offsets[:, None, None])

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w, u, v = ctx.saved_tensors
        (n, c, height, width), k = x.shape, len(w)
        if torch.is_grad_enabled():  # somebody wants the gradient of a gradient, which PyTorch knows
            ones, zeros = [1, 1], [0, 0]
            return tuple(torch.ops.aten.convolution_backward(
                grad, x, w, [k], ones, zeros, ones, False, zeros, 1, ctx.needs_input_grad))
        rows, columns = grad.shape[2] // TILE, grad.shape[3] // TILE
        tiles = grad.permute(0, 2, 3, 1).reshape(n, rows, TILE, columns, TILE, k).permute(2, 4, 0, 1, 3, 5)
        m = (A.t() @ tiles.reshape(TILE ** 2, -1)).view(SIDE ** 2, -1, k)
        of_x = of_w = None
        if ctx.needs_input_grad[0]:
            whole = grad.new_zeros(n, height, width, c)
            tiles = (B.t() @ (m @ u).view(SIDE ** 2, -1)).view(SIDE, SIDE, n, rows, columns, c)
            places = _under(whole, rows, columns)
            # Tiles overlap by two pixels: their first 4 x 4 do not, the others are added one by one.
            places[:TILE, :TILE] = tiles[:TILE, :TILE]
            for i in range(SIDE):
                for j in range(0 if i >= TILE else TILE, SIDE):
                    places[i, j] += tiles[i, j]
            of_x = _as(whole, not x.is_contiguous())
        if ctx.needs_input_grad[1]:
            taps = G.t() @ (m.transpose(1, 2) @ v).view(SIDE ** 2, -1)
            of_w = taps.view(TAPS, TAPS, k, c).permute(2, 3, 0, 1).contiguous()
        return of_x, of_w, grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


def _under(x: Tensor, rows: int, columns: int) -> Tensor:
    """The pixels under every tile of x (N x H x W x C), as a view of 6 x 6 x N x rows x columns x C."""
    image, down, right, channel = x.stride()
    return x.as_strided((SIDE, SIDE, len(x), rows, columns, x.shape[-1]),
                        (down, right, image, TILE * down, TILE * right, channel))


def _as(y: Tensor, last: bool) -> Tensor:
    """N x H x W x K as N x K x H x W, with the channels last in memory or not; no view, which users could not change
    in place."""
    y = y.permute(0, 3, 1, 2)
    return y.clone() if last else y.contiguous()
