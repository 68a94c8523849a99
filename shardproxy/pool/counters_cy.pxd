cdef class Counters:
    cdef public long long xact_count, query_count, bytes_received, bytes_sent
    cdef public long long xact_time_us, query_time_us, wait_time_us
    cdef public long long client_parse_count, server_parse_count, bind_count
    cdef public long long read_count, replica_read_count, write_count, retry_count, error_count
