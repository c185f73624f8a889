//! An SFTP server, through ssh2.
