# docker build -t shardproxy .
# docker run -v ./shardproxy.toml:/etc/shardproxy/shardproxy.toml -v shardproxy:/var/lib/shardproxy -p 6432:6432 shardproxy
# with topology = "file:/var/lib/shardproxy" in the configuration: the image's other folders cannot be written

FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN python -m venv /opt/shardproxy && SHARDPROXY_EXT=require /opt/shardproxy/bin/pip install --no-cache-dir .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/shardproxy --create-home shardproxy
COPY --from=build /opt/shardproxy /opt/shardproxy
ENV PATH=/opt/shardproxy/bin:$PATH PYTHONUNBUFFERED=1 SHARDPROXY_EXT=require
USER shardproxy
WORKDIR /var/lib/shardproxy
VOLUME /var/lib/shardproxy
EXPOSE 6432 9632
STOPSIGNAL SIGTERM
ENTRYPOINT ["shardproxy"]
CMD ["serve", "--config", "/etc/shardproxy/shardproxy.toml"]
