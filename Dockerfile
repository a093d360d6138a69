# The swarm and its pages. `docker compose up` runs both over one volume; see docs/deploy.md.
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git bubblewrap \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/nightswarm
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt . && useradd --create-home swarm

USER swarm
WORKDIR /home/swarm
ENV SWARM_HOME=/home/swarm/research
RUN mkdir "$SWARM_HOME"
VOLUME ["/home/swarm/research"]
ENTRYPOINT ["swarm"]
CMD ["--help"]
