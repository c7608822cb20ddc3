# The server and nothing else; docs/operations.md says how to run it.
FROM node:22-slim AS page
COPY web /web
WORKDIR /web/page
RUN npm ci --ignore-scripts --include=dev && npm run build

FROM python:3.11-slim

# What was compiled below is used; nothing is written beside it, and nothing waits to be printed.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app

# First what changes seldom: a change of the server's own code installs nothing anew.
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

# By number, so that whoever starts it can see that it is not root.
RUN useradd --system --uid 10001 --no-create-home mnemosio \
    && install --directory --owner=10001 --mode=0700 /data

COPY agent agent
COPY embedded embedded
COPY memory memory
COPY mongo mongo
COPY redislink redislink
COPY server server
COPY spool spool
COPY stores stores
COPY --from=page /web/page/dist web/page/dist
COPY main.py serving.py making.py ./
RUN python -m compileall -q .

# What is listened on inside; who may reach it is said by whoever publishes it.
ENV HOST=0.0.0.0 PORT=8000 DATA_DIR=/data
EXPOSE 8000
VOLUME /data
USER 10001

HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["python", "main.py"]
