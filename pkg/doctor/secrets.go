// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// keyFiles are patterns of files that are keys or passwords, and may have nothing else in them.
var keyFiles = []string{
	"etc/hostapd/*.psk", "etc/hostapd/*secret*", "etc/wireguard/*key*", "etc/ssh/ssh_host_*_key", "etc/l2d/*secret*", "etc/l2d/*.key", "run/secrets/*",
	"etc/kea/*.key", "etc/kea/kea-api-password",
}

// secretFiles are patterns of files that may have keys or passwords among other things.
var secretFiles = []string{
	"etc/hostapd/*.conf", "run/hostapd/*.conf", "etc/wpa_supplicant/*.conf", "etc/wireguard/*.conf",
	"etc/crowdsec/local_api_credentials.yaml", "etc/crowdsec/bouncers/*.yaml", "etc/NetworkManager/system-connections/*",
}

// words without which such a file has no secret in it.
var secretWords = []string{"passphrase", "password", "psk", "privatekey", "private key", "api_key", "secret", "key"}

// publicKey ends the name of what may be beside a key, and is for everybody.
const publicKey = ".pub"

func checkSecrets(r *report) {
	whole := map[string]bool{} // by path: all of it is a secret
	for _, pattern := range secretFiles {
		for _, path := range r.glob(pattern) {
			whole[path] = false
		}
	}
	for _, pattern := range keyFiles {
		for _, path := range r.glob(pattern) {
			if !strings.HasSuffix(path, publicKey) && !strings.Contains(filepath.Base(path), "public") {
				whole[path] = true
			}
		}
	}
	if r.Config != nil {
		for _, path := range r.Config.SecretFiles() {
			whole[strings.TrimPrefix(path, "/")] = true
		}
	}
	seen := len(r.findings)
	for _, path := range slices.Sorted(maps.Keys(whole)) {
		r.mode(path, whole[path])
	}
	if len(r.findings) == seen {
		r.good("mode", "there are no files with secrets where they are looked for")
	}
	r.socket()
}

// mode looks who can read a secret, and who can replace it. Of a file that is more than one, its words tell whether it has any.
func (r *report) mode(path string, holds bool) {
	info, err := os.Stat(filepath.Join(r.Root, path))
	if err != nil || info.IsDir() {
		return
	}
	text := strings.ToLower(r.read(path))
	for _, word := range secretWords {
		holds = holds || strings.Contains(text, word)
	}
	mode := info.Mode().Perm()
	evidence := fmt.Sprintf("mode %04o", mode)
	switch {
	case mode&0o022 != 0:
		r.add(Failure, "mode", "/"+path+": others than its owner can change it", evidence, "chmod 600 /"+path)
	case mode&0o004 != 0 && holds:
		r.add(Failure, "mode", "/"+path+": everybody can read the secret in it", evidence, "chmod 600 /"+path)
	case mode&0o040 != 0 && holds:
		r.add(Note, "mode", fmt.Sprintf("/%s: group %d can read the secret in it", path, groupOf(info)), evidence, "chmod 600 /"+path+", unless a service of that group needs it")
	case mode&0o044 != 0:
		r.add(Good, "mode", "/"+path+": others can read it, and there is no secret in it", evidence, "")
	default:
		r.add(Good, "mode", "/"+path+": only its owner can read or change it", evidence, "")
	}
}

func groupOf(info os.FileInfo) uint32 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Gid
	}
	return 0
}

// socket looks who can talk to the daemon: that is root's power over the network.
func (r *report) socket() {
	if r.Config == nil {
		return
	}
	path := strings.TrimPrefix(r.Config.Control.Socket, "/")
	info, err := os.Stat(filepath.Join(r.Root, path))
	if err != nil {
		return
	}
	evidence := fmt.Sprintf("mode %04o", info.Mode().Perm())
	if info.Mode().Perm()&0o077 != 0 {
		r.add(Failure, "socket", "/"+path+": others than root can control the dataplane", evidence, "chmod 600 /"+path)
		return
	}
	r.add(Good, "socket", "/"+path+": only root can control the dataplane", evidence, "")
}
