//! Every fault of the failure model, from the front door: a file in, passes changed, a report out, whatever happens on the way.

// Balances are whole numbers here, and files are small.
#![allow(clippy::float_cmp, clippy::format_collect)]

pub mod adds;
mod adds_corrected;
mod content;
mod crash_places;
mod crash_points;
mod crash_recheck;
mod crash_stations;
mod data_cells;
mod data_files;
mod data_order;
mod data_rows;
mod delivery;
mod disk_broken;
mod disk_clock;
mod disk_full;
mod disk_power;
mod http_adds;
mod http_answers;
mod http_outage;
mod http_tls;
mod keep_adds;
mod keep_backup;
mod keep_forget;
mod keep_verify;
mod kill;
mod notify;
mod operator_guards;
mod operator_reload;
mod operator_upgrade;
mod order;
mod places;
mod platform;
mod privacy;
mod samples;
mod settle;
mod sftp_claim;
mod sftp_hostile;
mod sftp_inbox;
mod sftp_network;
mod sftp_rights;
mod threats_local;
