#include "textflag.h"

// func threadBase() (base *byte, c bool)
TEXT ·threadBase(SB), NOSPLIT, $0-9
	RDFSBASEQ AX
	MOVQ AX, base+0(FP)
	CMPQ (AX), AX // as the ABI of C has it
	SETEQ c+8(FP)
	RET
