//! Exit statuses. They are part of the interface: scripts branch on them.

/// Done. An evaluation is done when there is an answer, whatever it says.
pub(crate) const DONE: u8 = 0;
/// A check said no.
pub(crate) const REFUSED: u8 = 1;
/// The command line, or a file that it names, cannot be used.
pub(crate) const UNUSABLE: u8 = 2;
/// The policy was asked and there is no answer.
pub(crate) const FAULT: u8 = 3;
/// The answer denies, and the caller asked to be told by the exit status.
pub(crate) const DENIED: u8 = 4;
/// The file system, the compiler or the network failed.
pub(crate) const MACHINE: u8 = 5;

/// The table, for the help.
pub(crate) const TABLE: &str = "\
Exit status:
  0  done; for `eval` there is an answer, whatever it says
  1  a check said no: an artifact was refused, cases failed, a receipt does not hold, a replay differs
  2  the command line, or a file that it names, cannot be used
  3  `eval`: the policy ended in a fault, so there is no answer
  4  `eval --exit-code`: the answer does not allow
  5  the machine failed: file system, compiler, network

From an empty folder to a policy that answers over HTTP:
  verdict keys new                         # author.key, to keep, and trust.json, for the host
  verdict new loan
  cd loan && verdict build
  verdict sign --key ../author.key
  verdict serve . --trust ../trust.json";
