"""The operators that plain networks in TorchScript may use; all of them access only their own arguments.

The list is closed: `aten::save` and `aten::from_file` open files, others call other processes, trust raw pointers or
change global state, and the next release of torch may add more of them.
"""

import torch

_PYTHON = """
append extend insert pop popitem clear remove reverse index count copy sort sorted keys values items get setdefault
update dict list len slice format percentFormat strip lstrip rstrip split rsplit join replace startswith endswith find
rfind lower upper title capitalize isdigit isalpha isalnum ord chr str Int Float Bool Complex
IntImplicit FloatImplicit ScalarImplicit Delete hash warn all any
__is__ __isnot__ __not__ __contains__ __getitem__ __range_length __derive_index __and__ __or__ __xor__
__round_to_zero_floordiv _set_item _unwrap_optional is_grad_enabled device
"""
_ARITHMETIC = """
add sub rsub mul div true_divide floor_divide floordiv remainder fmod mathremainder neg abs pow exp exp2 expm1 log log2
log10 log1p sqrt rsqrt square reciprocal sin cos tan asin acos atan atan2 sinh cosh tanh erf floor ceil round trunc frac
sign clamp clamp_min clamp_max clip min max minimum maximum eq ne lt le gt ge logical_and logical_or logical_xor
logical_not bitwise_and bitwise_or bitwise_not where lerp addcmul addcdiv isnan isinf isfinite nan_to_num
"""
_REDUCTIONS = """
sum mean std var std_mean var_mean prod amin amax argmin argmax cumsum cumprod norm frobenius_norm linalg_norm
linalg_vector_norm logsumexp median topk
"""
_PRODUCTS = "matmul mm bmm addmm baddbmm addbmm mv dot einsum t linear bilinear"
_SHAPES = """
size dim numel stride reshape view view_as reshape_as flatten unflatten squeeze unsqueeze permute transpose contiguous
expand expand_as repeat repeat_interleave broadcast_tensors broadcast_to cat concat stack chunk split split_with_sizes
unbind narrow select slice index index_select index_add index_copy index_put gather scatter masked_fill masked_select
take flip roll rot90 movedim moveaxis swapaxes tile meshgrid pad constant_pad_nd reflection_pad1d reflection_pad2d
replication_pad1d replication_pad2d unfold im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle tril triu diag
diagonal item to type_as clone detach alias cpu cuda is_floating_point is_complex is_contiguous
element_size copy fill zero
"""
_CREATION = """
zeros ones full empty zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty eye arange
linspace tensor as_tensor scalar_tensor rand randn rand_like randn_like
"""
_LAYERS = """
_convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
batch_norm instance_norm group_norm layer_norm embedding lstm gru
dropout feature_dropout alpha_dropout feature_alpha_dropout
relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish sigmoid log_sigmoid hardtanh hardswish
hardsigmoid softplus softmax log_softmax glu threshold softshrink hardshrink cosine_similarity
pairwise_distance max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
scaled_dot_product_attention
"""
_RESAMPLING = """
__interpolate __upsample __upsample_bilinear __upsample_nearest upsample_nearest1d
upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
_upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d
_upsample_nearest_exact2d _upsample_nearest_exact3d affine_grid_generator grid_sampler grid_sampler_2d
fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2
"""
_PRIM = """
RaiseException NumToTensor TupleIndex TupleUnpack unchecked_cast unchecked_unwrap_optional min max abs device dtype
layout data is_cuda requires_grad tolist ConstantChunk itemsize
"""
_GROUPS = (_PYTHON, _ARITHMETIC, _REDUCTIONS, _PRODUCTS, _SHAPES, _CREATION, _LAYERS, _RESAMPLING)
ATEN = frozenset(name for group in _GROUPS for name in group.split())
PRIM = frozenset(_PRIM.split())


def is_plain(name: str) -> bool:
    """Return whether `aten::name` is in the list, in place (`add_`) or not."""
    return name in ATEN or (name.endswith("_") and name[:-1] in ATEN)


def is_operator(name: str) -> bool:
    """Return whether torch has an operator `aten::name`, which a method call `x.name(...)` may call."""
    return bool(torch._C._jit_get_schemas_for_operator(f"aten::{name}"))
