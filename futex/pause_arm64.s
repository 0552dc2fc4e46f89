#include "textflag.h"

// func pause(n uint32)
TEXT ·pause(SB), NOSPLIT, $0-4
	MOVWU n+0(FP), R0
again:
	YIELD
	SUBW $1, R0
	CBNZ R0, again
	RET

// func pauseAsking(next *atomic.Uint64)
TEXT ·pauseAsking(SB), NOSPLIT, $0-8
	MOVD next+0(FP), R0
	YIELD
	PRFM (R0), PLDL1KEEP
	SUB  $64, R0
	PRFM (R0), PLDL1KEEP
	RET
