package pipe

// ParseControl is parseControl for its fuzz test.
var ParseControl = parseControl
