"""What the kernels keep a GGUF type's codes in. Free of torch."""

from __future__ import annotations

from gguf import GGMLQuantizationType as Kind

from llmrt.quant.scheme import QuantScheme

# Columns that share a scale, in every type.
GROUP = 32

SCHEMES = {
    Kind.Q4_0: QuantScheme(4, GROUP),
    Kind.Q8_0: QuantScheme(8, GROUP),
}
