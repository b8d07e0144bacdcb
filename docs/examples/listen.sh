curl --no-buffer --data '{"subs": {"news": {}}}' \
     "http://${HOST:-localhost:8000}/connection/uni_http_stream"
