#include "textflag.h"

// func prefetchStore(p unsafe.Pointer)
TEXT ·prefetchStore(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	BYTE $0x0F; BYTE $0x0D; BYTE $0x08 // PREFETCHW (AX)
	RET
