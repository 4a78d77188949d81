"""Machine code made here: an emitter of LLVM's language, what compiles and keeps it, and its threads.

LLVM comes as a wheel (llvmlite): no compiler is needed on the machine.
"""
