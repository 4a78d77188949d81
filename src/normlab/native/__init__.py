"""Machine code made here: an emitter of LLVM's language, what compiles it, and its threads.

LLVM comes as a wheel (llvmlite): no compiler is needed on the machine.
"""
