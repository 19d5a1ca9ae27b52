#!/bin/sh
# Pacemaker 2.1.5: cibadmin --create turns an XML comment inside the new element into an element named "comment", and then
# refuses it because its schema knows no such element. Without the comment the same element is taken. No cluster is needed:
# with CIB_file cibadmin works on a file.
#
# Needs Debian 12 (amd64), apt-get and dpkg; installs nothing, unpacks the pinned packages into a folder that is removed.
# Exits with 0 while the behaviour is as described, 1 when it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
version=2.1.5-1+deb12u1
set --
for package in pacemaker-cli-utils pacemaker-common libcib27 libcrmcommon34 libpacemaker1 libpe-status28 libpe-rules26 liblrmd28 \
    libstonithd26 libcrmservice28; do
    set -- "$@" "$package=$version"
done
# What those need and a small Debian does not have.
apt-get -q -o APT::Sandbox::User=root download "$@" libqb100=2.0.6-2 libpils2=1.0.12-21+b2 >/dev/null
for file in *.deb; do dpkg -x "$file" root; done
run() {
    LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu:$work/root/usr/lib" PCMK_schema_directory="$work/root/usr/share/pacemaker" \
        CIB_file="$work/cib.xml" LC_ALL=C "$work/root/usr/sbin/cibadmin" "$@" 2>&1
}
before() {
    cat >cib.xml <<X
<cib crm_feature_set="3.0.14" validate-with="pacemaker-3.0" admin_epoch="1" epoch="1" num_updates="0">
<configuration><crm_config/><nodes/><resources/><constraints/></configuration><status/></cib>
X
}
element() {
    echo "<primitive id=\"d\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\">$1<meta_attributes id=\"m\"/></primitive>"
}

run --version | head -n 1
before
element "" >without.xml
code=0
run --create --scope resources --xml-file without.xml >said || code=$?
echo "without a comment: status $code"
[ $code = 0 ] || { cat said; exit 1; }
before
element "<!-- a word -->" >with.xml
code=0
run --create --scope resources --xml-file with.xml >said || code=$?
echo "with a comment inside: status $code"
cat said
[ $code != 0 ] && grep -q '<comment/>' said && grep -q 'does not conform to the configured schema' said || {
    echo "CHANGED: the comment is taken, or refused in other words"
    exit 1
}
echo "as described"
