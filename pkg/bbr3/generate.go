// SPDX-License-Identifier: GPL-2.0-only

package bbr3

// As in the loader's generate.go: the object is committed.
//go:generate go tool bpf2go -no-global-types -type bbr3 -type bbr3_sock -type bbr3_settings -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" bbr3 ../../bpf/bbr3.c

// What tests compare with.
//go:generate go tool bpf2go -no-global-types -output-dir testdata -go-package testdata -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" oracle ../../bpf/bbr3_oracle.c
//go:generate go tool bpf2go -no-global-types -output-dir testdata -go-package testdata -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" cost ../../bpf/bbr_cost.c
