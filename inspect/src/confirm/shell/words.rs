//! Names of programs, by where texts have them too.

/// Commands whose names are no words of a natural language.
pub(super) const COMMANDS: &str = "\
    adduser apt-get ansible awk base32 base64 bash bitsadmin blkid busybox certutil chgrp chmod chown chroot cmd \
    cmd.exe crontab cscript csh curl dash df dig dmesg dpkg driverquery du egrep fetch fgrep findstr forfiles \
    gawk gcc getent getmac grep gunzip gzip hexdump htop iconv icacls iex ifconfig ipconfig iptables iwr \
    journalctl ksh kubectl lastlog lsb_release lsblk lscpu lsof lua lwp-download mawk md5sum mkdir mkfifo mknod \
    mshta msiexec mysql mysqldump nbtstat ncat netcat netsh netstat nohup nslookup od openssl pathping perl php \
    pip pip3 pkill powershell powershell.exe printenv psql pwsh python python2 python3 quser readlink regsvr32 \
    rmdir rsync ruby rundll32 schtasks scp sed sha256sum smbclient snmpwalk socat sqlite3 ssh ssh-keygen strace \
    sysctl systemctl systeminfo taskkill tasklist tclsh tcpdump tcsh telnet telnetd tftp traceroute tracert uname unzip \
    useradd usermod vmstat vssadmin wevtutil wget whereis whoami wmic wscript xargs xcopy xterm yum zcat zsh";

/// Commands that are also ordinary words or names: they need arguments that only a shell takes.
pub(super) const COMMON_WORDS: &str = "\
    alias apk apt arp at attrib bin cat cd clear column comm copy cp cut date del dir docker echo ed emacs env eval exec \
    expand export expr file find finger fmt fold free ftp git go groups hd head history host hostname id install ip java \
    jobs join kill last less ln locate ls lynx mail make man more mount mv nano nc net nl nmap node npm npx passwd paste \
    perf ping popd pr printf ps pushd pwd query reboot reg ren rev rm route rpm sc service set sh shutdown sleep sort \
    source split ss stat start strings su tac tail tar tee test time timeout top touch tr tree type uniq uptime ver vi view \
    vim vol w watch wc which who xxd xz yes zip";

/// Those of them that are run without arguments.
pub(super) const BARE_WORDS: &str = "\
    arp cat date df dir env free groups history hostname id ipconfig last ls lsof mount net ps pwd reboot set shutdown ss \
    sleep top uptime ver w who";

/// Those of the common words that every text may hold: `; top 10`, `& more`.
pub(super) const EVERYDAY_WORDS: &str = "\
    at cat clear column copy cut date file find finger fold free go groups head history host install java jobs join last \
    less make man more mount net paste perf ping query rev route service set sleep sort source split start stat strings \
    test time timeout top touch tree type uptime view watch which who yes";

/// Those of the common words that take a number and nothing else.
pub(super) const NUMBER_TAKERS: &str = "kill ping sleep timeout";

/// Programs that are names of languages and tools as well, which lists of skills hold: they need something to run.
pub(super) const LANGUAGES: &str = "\
    ansible awk bash csh curl dash fetch gcc git grep iptables java ksh kubectl lua mysql openssl perl php pip powershell psql \
    pwsh python python2 python3 ruby rsync sed sqlite3 ssh systemctl tcsh telnet wget zsh";

/// Commands that only an intruder runs: in the middle of a text they are telling too.
pub(super) const TELLING_COMMANDS: &str =
    "ifconfig ipconfig nc ncat netcat nslookup systeminfo tasklist whoami";

/// Programs that build, install and watch software, and that texts for developers chain: an intruder has others.
pub(super) const WORKING_TOOLS: &str = "\
    ansible apk apt apt-get docker dpkg git go htop java journalctl kubectl lsof make npm npx pip pip3 rpm service systemctl \
    vmstat yum";

/// Programs that move files about or cut columns out, as texts for developers do: an intruder names files of the system.
pub(super) const FILE_TOOLS: &str =
    "chgrp chmod chown column cp cut fold ln mkdir mv rm rmdir sort tar touch tr uniq unzip wc";

/// Those of them that show what the files hold.
pub(super) const FILE_PRINTERS: &str = "column cut fold sort uniq";

/// Programs that take the name of a host, which looks like that of a file.
pub(super) const NETWORK_TOOLS: &str = "\
    arp curl dig fetch finger ftp host lynx nc ncat netcat nmap nslookup pathping ping rsync scp ssh telnet tftp traceroute \
    tracert wget whois";

/// Whether a word is a command of the list; question marks in it stand for any letter, as in file names, but for two at
/// least the letters must be there.
pub(super) fn is_one_of(commands: &str, word: &[u8]) -> bool {
    let letters = word.iter().filter(|byte| **byte != b'?').count();
    let wild = letters < word.len();
    if wild && letters < 2 {
        return false;
    }
    commands.split_ascii_whitespace().any(|command| {
        command.len() == word.len()
            && command.bytes().zip(word).all(|(expected, byte)| *byte == expected || *byte == b'?')
    })
}
