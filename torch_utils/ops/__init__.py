"""The four operations of the networks, in plain torch: any dtype, CPU or GPU, first and second derivatives."""
