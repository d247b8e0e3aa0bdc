package bench
type Report struct { Options Options; Samples []Sample }
