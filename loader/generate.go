// SPDX-License-Identifier: GPL-2.0-only

package loader

// The objects are committed: building l2d needs no clang. CI rebuilds them and
// fails on a difference. Debian keeps asm/types.h in a directory of the
// architecture; whichever exists is found.
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -type walk -cflags "-O2 -g -Wall -Werror -mcpu=v3 -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" l2TC ../bpf/l2_tc.c
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" l2XDP ../bpf/l2_xdp.c
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" l2Monitor ../bpf/l2_monitor.c
