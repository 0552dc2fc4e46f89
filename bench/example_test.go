package main

import "fmt"

func Example_parseSize() {
	for _, s := range []string{"64", "4KiB", "12x"} {
		fmt.Println(parseSize(s))
	}
	// Output:
	// 64 <nil>
	// 4096 <nil>
	// 0 "12x": want bytes from 1 to 64MiB, such as 64, 4KiB or 1MiB
}
