#include "textflag.h"

// func pause(n uint32)
TEXT ·pause(SB), NOSPLIT, $0-4
	MOVL n+0(FP), AX
again:
	PAUSE
	SUBL $1, AX
	JNZ  again
	RET

// func pauseAsking(next *atomic.Uint64)
TEXT ·pauseAsking(SB), NOSPLIT, $0-8
	MOVQ next+0(FP), AX
	PAUSE
	PREFETCHT0 (AX)
	PREFETCHT0 -64(AX)
	RET
