#include "textflag.h"

// func prefetchStore(p unsafe.Pointer)
TEXT ·prefetchStore(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PSTL1KEEP
	RET
