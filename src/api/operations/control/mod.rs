//! The operations beside the tables': policies, insights, destinations, auto scaling, the global tables of
//! 2017, point-in-time recovery (api.md section 1). What they record is each region's own
//! (`tables::local`), auto scaling aside, which is the table's.

pub(crate) mod create_global_table;
pub(crate) mod delete_resource_policy;
pub(crate) mod describe_contributor_insights;
pub(crate) mod describe_global_table;
pub(crate) mod describe_global_table_settings;
pub(crate) mod describe_kinesis_streaming_destination;
pub(crate) mod describe_table_replica_auto_scaling;
pub(crate) mod disable_kinesis_streaming_destination;
pub(crate) mod enable_kinesis_streaming_destination;
pub(crate) mod get_resource_policy;
pub(crate) mod list_contributor_insights;
pub(crate) mod list_global_tables;
pub(crate) mod policy;
pub(crate) mod put_resource_policy;
pub(crate) mod restore_table_to_point_in_time;
pub(crate) mod search_vectors;
pub(crate) mod update_continuous_backups;
pub(crate) mod update_contributor_insights;
pub(crate) mod update_global_table;
pub(crate) mod update_global_table_settings;
pub(crate) mod update_kinesis_streaming_destination;
pub(crate) mod update_table_replica_auto_scaling;

mod auto_scaling;
mod insights;
mod kinesis;
mod legacy;
#[cfg(test)]
mod tests;
