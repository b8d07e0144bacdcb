"""Help texts of the metric families, shown as ``# HELP``."""

__all__ = ["HELP", "SHOWN_LATER"]

#: Families that the reference shows only after their first event.
SHOWN_LATER = frozenset(
    {
        "node_tags_filter_dropped_publications",
        "node_broadcast_duration_seconds",
        "node_pub_sub_lag_seconds",
        "transport_messages_sent",
        "transport_messages_sent_size",
    }
)

_OLD = "Quantiles of the last observations; prefer the histogram."

#: One line for each family, without its prefix.
HELP = {
    "node_num_clients": "Clients connected to this node.",
    "node_num_users": "Different users connected to this node.",
    "node_num_subscriptions": "Subscriptions of the clients of this node.",
    "node_num_channels": "Channels with subscribers on this node.",
    "node_num_nodes": "Nodes known to this one, itself included.",
    "node_build": "Always 1; the label is the version.",
    "node_action_count": "Operations of the node, by kind.",
    "node_messages_sent_count": "Messages handed to the broker.",
    "node_messages_received_count": "Messages delivered by the broker.",
    "node_client_connection_limit": "Connections refused because of a limit.",
    "consumers_errors_total": "Failed attempts of a consumer to process messages.",
    "consumers_messages_processed_total": "Messages that a consumer has processed.",
    "tls_certificate_days_left": "Days until a certificate of the server expires.",
    "node_reactor_lag_seconds": "How late the reactor calls a timer.",
    "node_overloaded": "1 while new connections are refused because of overload.",
    "node_connections_shed_total": "Connections refused because of overload.",
    "node_accept_paused_total": "Times that accepting paused for want of descriptors.",
    "node_tags_filter_dropped_publications": "Publications held back by tag filters.",
    "node_broadcast_duration_seconds": "Time of the fan-out of one message.",
    "node_pub_sub_lag_seconds": "Age of publications when the broker delivers them.",
    "node_survey_duration_seconds": f"Time of surveys.  {_OLD}",
    "node_survey_duration_seconds_histogram": "Time of surveys of all nodes.",
    "client_command_duration_seconds": f"Time of clients' commands.  {_OLD}",
    "client_command_duration_seconds_histogram": "Time of clients' commands.",
    "client_connections_accepted": "Connections that have connected.",
    "client_connections_inflight": "Connections that are connected.",
    "client_subscriptions_inflight": "Subscriptions that clients have.",
    "client_num_reply_errors": "Error replies to clients.",
    "client_num_server_disconnects": "Connections ended by the server.",
    "client_num_server_unsubscribes": "Subscriptions ended by the server.",
    "client_ping_pong_duration_seconds": "Time between a ping and its pong.",
    "client_receipt_duration_seconds": "Time from a publication to its receipt.",
    "client_recover": "Attempts of subscribers to recover.",
    "client_recovered_publications": "Publications that a recovery returned.",
    "node_incoming_http_requests_total": "HTTP requests by endpoint and status.",
    "transport_messages_sent": "Messages sent to clients.",
    "transport_messages_sent_size": "Bytes of these, as they are sent.",
    "transport_messages_received": "Messages received from clients.",
    "transport_messages_received_size": "Bytes of these, after decompression.",
    "transport_outgoing_close_count": "WebSocket closing handshakes that were begun.",
    "api_command_duration_seconds": f"Time of API requests.  {_OLD}",
    "api_command_duration_seconds_histogram": "Time of API requests.",
    "api_command_errors_total": "Error answers to API requests.",
    "proxy_duration_seconds": f"Time of calls to backends.  {_OLD}",
    "proxy_duration_seconds_histogram": "Time of calls to backends.",
    "proxy_errors": "Calls to backends without a valid response.",
    "proxy_inflight_requests": "Calls to backends that run or wait at present.",
    "shared_poll_proxy_request_items": "Keys in a poll of a backend.",
    "shared_poll_proxy_response_items": "Keys in the response to a poll.",
    "broker_redis_pub_sub_buffered_messages": "Messages from Redis that wait.",
    "map_broker_redis_pub_sub_buffered_messages": (
        "Messages on maps from Redis that wait."
    ),
    "broker_redis_pub_sub_dropped_messages": "Messages from Redis that were dropped.",
    "broker_redis_pub_sub_errors": "Messages from Redis that could not be read.",
    "map_broker_redis_pub_sub_dropped_messages": (
        "Messages on maps from Redis that were dropped."
    ),
    "map_broker_redis_pub_sub_errors": (
        "Messages on maps from Redis that could not be read."
    ),
    "map_broker_publish_suppressed_count": "Keys of maps that were not set.",
    "map_broker_remove_suppressed_count": "Keys of maps that were not removed.",
    "map_broker_cleanup_removed_count": "Expired keys removed from maps.",
    "map_broker_cleanup_errors_count": "Failures while removing expired keys.",
    "shared_poll_num_channels": "Shared poll channels with subscribers.",
    "shared_poll_num_keys": "Keys that are tracked in shared poll channels.",
}
