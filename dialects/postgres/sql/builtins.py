"""What is known of PostgreSQL's own functions and catalogs (versions 15 to 18), as data.

Invariant: ``HARMLESS`` holds only functions that are immutable or stable in every version that has them, that work on
a standby, and that answer there what the primary would answer. A test compares it with real servers. Left out on
purpose: what tells about this server, session or transaction (``pg_backend_pid``, ``txid_*``, ``inet_*``,
``pg_stat_*``, ``version``, ``pg_is_in_recovery``, ...), and what runs SQL that it is given (``query_to_xml``, ...).
"""

from __future__ import annotations

from shardproxy.dialects.flags import (
    ADVANCES,
    FOREVER,
    PRIMARY,
    PROBE,
    SEQUENCE_STATE,
    SESSIONS,
    TERMINATE,
    UNPIN,
)

__all__ = ["CALM", "CATALOGS", "EFFECTS", "HARMLESS", "IMMUTABLE", "STABLE", "WRITERS"]


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


IMMUTABLE = _set("""
    abbrev abs aclcontains acldefault aclinsert aclremove acos acosd acosh any_value area array_agg array_append
    array_cat array_dims array_fill array_larger array_length array_lower array_ndims array_position
    array_positions array_prepend array_remove array_replace array_reverse array_smaller array_sort
    array_to_tsvector array_upper ascii asin asind asinh atan atan2 atan2d atand atanh avg bit bit_and bit_count
    bit_length bit_or bit_xor bool bool_and bool_or bound_box box bpchar broadcast btrim bytea cardinality
    casefold cash_words cbrt ceil ceiling center char char_length character_length chr cidr circle corr cos cosd
    cosh cot cotd count covar_pop covar_samp crc32 crc32c cume_dist date_bin datemultirange daterange
    daterange_canonical daterange_subdiff decode degrees dense_rank dexp diagonal diameter div dlog1 dlog10
    dround dtrunc encode erf erfc every exp factorial family first_value float4 float8 floor gamma gcd
    generate_subscripts get_bit get_byte hashint4 hashint8 hashtext hashtextextended height host hostmask
    inet_merge inet_same_family initcap int2 int4 int4inc int4multirange int4range int4range_canonical
    int4range_subdiff int8 int8multirange int8range int8range_canonical int8range_subdiff interval is_normalized
    isclosed isempty isfinite ishorizontal isopen isparallel isperp isvertical json_array_elements
    json_array_elements_text json_array_length json_each json_each_text json_extract_path json_extract_path_text
    json_object json_object_keys json_strip_nulls json_typeof jsonb_array_elements jsonb_array_elements_text
    jsonb_array_length jsonb_concat jsonb_contains jsonb_each jsonb_each_text jsonb_exists jsonb_exists_all
    jsonb_exists_any jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg
    jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict jsonb_object_keys
    jsonb_path_exists jsonb_path_match jsonb_path_query jsonb_path_query_array jsonb_path_query_first
    jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_typeof justify_days justify_hours
    justify_interval lag last_value lcm lead left lgamma like like_escape line ln log log10 lower lower_inc
    lower_inf lpad lseg ltrim macaddr macaddr8 macaddr8_set7bit make_date make_interval make_time make_timestamp
    makeaclitem masklen max md5 min min_scale mod mode multirange name nameconcatoid netmask network normalize
    notlike npoints nth_value ntile num_nonnulls num_nulls numeric_div_trunc numeric_exp numeric_inc numeric_ln
    numeric_log numeric_sqrt nummultirange numnode numrange numrange_subdiff octet_length oid overlay
    parse_ident path pclose percent_rank percentile_cont percentile_disc pg_encoding_max_length pg_lsn
    pg_partition_root pg_size_bytes pg_size_pretty pg_snapshot_xip pg_snapshot_xmax pg_snapshot_xmin
    pg_visible_in_snapshot pg_wal_lsn_diff pi point polygon popen position pow power querytree quote_ident
    radians radius range_agg range_intersect_agg range_merge rank regexp_count regexp_instr regexp_like
    regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr
    regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat replace
    reverse right round row_number rpad rtrim satisfies_hash_partition scale set_bit set_byte set_masklen
    setweight sha224 sha256 sha384 sha512 sign similar_escape similar_to_escape sin sind sinh slope split_part
    sqrt starts_with stddev stddev_pop stddev_samp string_agg string_to_array string_to_table strip strpos
    substr substring sum tan tand tanh text textlen to_ascii to_bin to_hex to_oct translate trim_array
    trim_scale trunc ts_delete ts_filter ts_lexize ts_rank ts_rank_cd tsmultirange tsquery_phrase tsrange
    tsrange_subdiff tstzmultirange tstzrange tstzrange_subdiff tsvector_to_array txid_snapshot_xip
    txid_snapshot_xmax txid_snapshot_xmin txid_visible_in_snapshot unicode_assigned unistr unnest upper
    upper_inc upper_inf uuid_extract_timestamp uuid_extract_version var_pop var_samp varbit varchar variance
    width width_bucket xid xml_is_well_formed_content xml_is_well_formed_document xmlagg xmlcomment xmlconcat2
    xmlexists xmltext xmlvalidate xpath xpath_exists
""")
"""Immutable in every version. What only serves operators, indexes, types and aggregates is left out."""

STABLE = _set("""
    age array_to_json array_to_string col_description concat concat_ws convert convert_from convert_to
    current_database current_schema current_schemas current_user date date_add date_part date_subtract
    date_trunc enum_first enum_last enum_range extract format format_type generate_series get_current_ts_config
    getdatabaseencoding getpgusername has_any_column_privilege has_column_privilege has_database_privilege
    has_foreign_data_wrapper_privilege has_function_privilege has_language_privilege has_largeobject_privilege
    has_parameter_privilege has_schema_privilege has_sequence_privilege has_server_privilege has_table_privilege
    has_tablespace_privilege has_type_privilege json_agg json_agg_strict json_build_array json_build_object
    json_object_agg json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict
    json_populate_record json_populate_recordset json_to_record json_to_recordset json_to_tsvector jsonb_agg
    jsonb_agg_strict jsonb_build_array jsonb_build_object jsonb_path_exists_tz jsonb_path_match_tz
    jsonb_path_query_array_tz jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record
    jsonb_populate_record_valid jsonb_populate_recordset jsonb_to_record jsonb_to_recordset jsonb_to_tsvector
    length make_timestamptz money mxid_age now numeric obj_description oidvectortypes overlaps pg_basetype
    pg_char_to_encoding pg_client_encoding pg_collation_for pg_collation_is_visible pg_column_compression
    pg_column_is_updatable pg_column_size pg_conversion_is_visible pg_describe_object pg_encoding_to_char
    pg_function_is_visible pg_get_acl pg_get_catalog_foreign_keys pg_get_constraintdef pg_get_expr
    pg_get_function_arg_default pg_get_function_arguments pg_get_function_identity_arguments
    pg_get_function_result pg_get_function_sqlbody pg_get_functiondef pg_get_indexdef pg_get_keywords
    pg_get_object_address pg_get_partition_constraintdef pg_get_partkeydef pg_get_publication_tables
    pg_get_replica_identity_index pg_get_ruledef pg_get_serial_sequence pg_get_statisticsobjdef
    pg_get_statisticsobjdef_columns pg_get_statisticsobjdef_expressions pg_get_triggerdef pg_get_userbyid
    pg_get_viewdef pg_has_role pg_identify_object pg_identify_object_as_address pg_index_column_has_property
    pg_index_has_property pg_indexam_has_property pg_opclass_is_visible pg_operator_is_visible
    pg_opfamily_is_visible pg_options_to_table pg_relation_is_publishable pg_relation_is_updatable
    pg_sequence_parameters pg_statistics_obj_is_visible pg_table_is_visible pg_ts_config_is_visible
    pg_ts_dict_is_visible pg_ts_parser_is_visible pg_ts_template_is_visible pg_type_is_visible pg_typeof
    phraseto_tsquery plainto_tsquery quote_literal quote_nullable row_security_active row_to_json session_user
    shobj_description statement_timestamp time timestamp timestamptz timetz timezone to_char to_date to_json
    to_jsonb to_number to_regclass to_regcollation to_regnamespace to_regoper to_regoperator to_regproc
    to_regprocedure to_regrole to_regtype to_regtypemod to_timestamp to_tsquery to_tsvector
    transaction_timestamp ts_debug ts_headline ts_parse ts_token_type websearch_to_tsquery xml
    xml_is_well_formed
""")
"""Stable (or immutable) in every version, read one by one. ``current_setting`` depends on its argument: reads.py."""

HARMLESS = IMMUTABLE | STABLE

CALM = _set("""
    array_sample array_shuffle bernoulli clock_timestamp current_query current_setting currval
    cursor_to_xmlschema gen_random_uuid inet_client_addr inet_client_port inet_server_addr inet_server_port
    lastval lo_close lo_creat lo_create lo_export lo_from_bytea lo_get lo_import lo_lseek lo_lseek64 lo_open
    lo_put lo_tell lo_tell64 lo_truncate lo_truncate64 lo_unlink loread lowrite nextval pg_advisory_xact_lock
    pg_advisory_xact_lock_shared pg_backend_pid pg_current_xact_id pg_is_in_recovery pg_notify pg_sleep
    pg_sleep_for pg_sleep_until pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared random random_normal
    setval suppress_redundant_updates_trigger system system_user timeofday tsvector_update_trigger
    tsvector_update_trigger_column txid_current txid_current_if_assigned txid_current_snapshot txid_status
    uuidv4 uuidv7 version
""")
"""Not harmless, but they leave nothing behind in the session. With facts at hand every ``pg_*`` function is, too,
that is not in ``EFFECTS``: then it is known to be PostgreSQL's own."""

EFFECTS: dict[str, int] = {
    "set_config": PROBE,
    "currval": SEQUENCE_STATE, "lastval": SEQUENCE_STATE, "nextval": ADVANCES, "setval": ADVANCES,
    "pg_backend_pid": SESSIONS, "pg_cancel_backend": TERMINATE, "pg_terminate_backend": TERMINATE,
    "pg_export_snapshot": PRIMARY,
    **dict.fromkeys(("pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock",
                     "pg_try_advisory_lock_shared"), PROBE),
    **dict.fromkeys(("pg_advisory_unlock", "pg_advisory_unlock_all", "pg_advisory_unlock_shared"), UNPIN),
    **dict.fromkeys(("setseed", "pg_backup_start", "pg_create_logical_replication_slot",
                     "pg_create_physical_replication_slot", "pg_copy_logical_replication_slot",
                     "pg_copy_physical_replication_slot", "pg_replication_origin_session_setup",
                     "pg_replication_origin_session_reset", "dblink_connect", "dblink_connect_u", "dblink_open",
                     "isn_weak"), PROBE | FOREVER),
    **dict.fromkeys(("cursor_to_xml", "database_to_xml", "database_to_xml_and_xmlschema", "query_to_xml",
                     "query_to_xml_and_xmlschema", "query_to_xmlschema", "schema_to_xml",
                     "schema_to_xml_and_xmlschema", "table_to_xml", "table_to_xml_and_xmlschema", "ts_rewrite",
                     "ts_stat"), PROBE),
}
"""What a call does to the session beyond its answer. Functions that run SQL they are given may do anything."""

WRITERS = _set("""
    cursor_to_xml database_to_xml database_to_xml_and_xmlschema lo_creat lo_create lo_from_bytea lo_import
    lo_put lo_truncate lo_truncate64 lo_unlink lowrite pg_clear_attribute_stats pg_clear_relation_stats
    pg_extension_config_dump pg_import_system_collations pg_restore_attribute_stats pg_restore_relation_stats
    query_to_xml query_to_xml_and_xmlschema query_to_xmlschema schema_to_xml schema_to_xml_and_xmlschema
    table_to_xml table_to_xml_and_xmlschema ts_rewrite ts_stat
""")
"""Built-in functions that change, or may change, what a later read sees in some table or catalog."""

CATALOGS = _set("""
    pg_aggregate pg_am pg_amop pg_amproc pg_attrdef pg_attribute pg_auth_members pg_authid pg_cast pg_class
    pg_collation pg_constraint pg_conversion pg_database pg_db_role_setting pg_default_acl pg_depend
    pg_description pg_enum pg_event_trigger pg_extension pg_foreign_data_wrapper pg_foreign_server
    pg_foreign_table pg_group pg_index pg_indexes pg_inherits pg_init_privs pg_language pg_largeobject
    pg_largeobject_metadata pg_matviews pg_namespace pg_opclass pg_operator pg_opfamily pg_parameter_acl
    pg_partitioned_table pg_policies pg_policy pg_proc pg_publication pg_publication_namespace
    pg_publication_rel pg_publication_tables pg_range pg_rewrite pg_roles pg_rules pg_seclabel pg_seclabels
    pg_sequence pg_shadow pg_shdepend pg_shdescription pg_shseclabel pg_statistic pg_statistic_ext
    pg_statistic_ext_data pg_stats pg_stats_ext pg_stats_ext_exprs pg_subscription pg_subscription_rel pg_tables
    pg_tablespace pg_transform pg_trigger pg_ts_config pg_ts_config_map pg_ts_dict pg_ts_parser pg_ts_template
    pg_type pg_user pg_user_mapping pg_user_mappings pg_views
""")
"""Relations of ``pg_catalog`` that a replica answers as the primary does. Left out: views of this server's or this
session's state. All of ``information_schema`` is as good."""
