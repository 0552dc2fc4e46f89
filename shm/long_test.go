package shm_test

import "flag"

var long = flag.Bool("long", false, "also run the forms of the tests that take minutes")
