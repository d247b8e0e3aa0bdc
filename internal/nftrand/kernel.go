// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import (
	"os/exec"
	"strings"
	"sync"
)

// KernelRejectsFrames tells whether the kernel has reject in chains of interfaces
// (CONFIG_NFT_REJECT_NETDEV), which Debian's kernels are built without. It needs root:
// without, it is true.
var KernelRejectsFrames = sync.OnceValue(func() bool {
	cmd := exec.Command("unshare", "-n", "nft", "-c", "-f", "-")
	cmd.Stdin = strings.NewReader("table netdev t {\n chain c {\n type filter hook ingress device lo priority 0;\n reject\n }\n}\n")
	out, err := cmd.CombinedOutput()
	return err == nil || !strings.Contains(string(out), "No such file or directory")
})
