# One image for every service and the tracker: what differs is the command.
FROM python:3.12-slim

WORKDIR /app
# The dependencies first: this layer stays as it is while the code changes.
COPY pyproject.toml README.md LICENSE ./
RUN python -c "import tomllib; print('\n'.join(tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']))" > /tmp/needs.txt \
 && pip install --no-cache-dir --disable-pip-version-check -r /tmp/needs.txt && rm /tmp/needs.txt

COPY choreo ./choreo
COPY services ./services
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps . && rm -rf choreo build \
 && useradd --uid 10001 --create-home choreo && mkdir /data && chown choreo /data

USER choreo
ENV PYTHONUNBUFFERED=1
VOLUME ["/data"]
EXPOSE 9000
ENTRYPOINT ["choreo"]
CMD ["--help"]
