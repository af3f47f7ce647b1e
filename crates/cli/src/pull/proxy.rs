//! Plain HTTP through a proxy, as proxies expect it: RFC 9112, section 3.2.2.
//!
//! A proxy is asked for the whole address, `GET http://host/path`. The HTTP client's own way is a tunnel (CONNECT),
//! which proxies commonly refuse to any port but that of HTTPS.

use std::env;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};
use ureq::{Error, Proxy, ProxyProtocol};

/// The proxy for `http://` addresses that the environment names.
pub fn from_environment() -> Result<Option<Proxy>> {
    let set = |name: &&str| env::var(name).is_ok_and(|value| !value.trim().is_empty());
    let names = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
    let Some(name) = names.into_iter().find(set) else { return Ok(None) };
    let address = env::var(name)?;
    let read = || -> Result<Proxy> {
        let proxy = Proxy::new(address.trim())?;
        if proxy.protocol() != ProxyProtocol::Http {
            bail!("only http:// proxies can be used");
        }
        let mut builder = Proxy::builder(ProxyProtocol::Http).host(proxy.host()).port(proxy.port());
        if let Some(username) = proxy.username() {
            builder = builder.username(username);
        }
        if let Some(password) = proxy.password() {
            builder = builder.password(password);
        }
        let exceptions = env::var("no_proxy").or_else(|_| env::var("NO_PROXY"));
        for host in exceptions.iter().flat_map(|hosts| hosts.split(',')) {
            if !host.trim().is_empty() {
                builder = builder.no_proxy(host.trim());
            }
        }
        Ok(builder.build()?)
    };
    // The address may hold a password: it is not repeated.
    read().map(Some).with_context(|| format!("the proxy that {name} names"))
}

/// Connects to the proxy, where one is configured for the address.
#[derive(Debug)]
pub struct ProxyConnector;

impl Connector for ProxyConnector {
    type Out = Forwarded;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Forwarded>, Error> {
        let proxy = details.config.proxy().filter(|proxy| !proxy.is_no_proxy(details.uri));
        let Some(proxy) = proxy else { return Ok(None) };
        let at_proxy = ConnectionDetails {
            uri: proxy.uri(),
            addrs: details.resolver.resolve(proxy.uri(), details.config, details.timeout)?,
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let connection = TcpConnector::default().connect(&at_proxy, None::<()>)?;
        let connection = Box::new(connection.ok_or(Error::ConnectionFailed)?);
        let authority = details.uri.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        let credentials = proxy.username().map(|name| {
            let credentials = format!("{name}:{}", proxy.password().unwrap_or_default());
            format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(credentials))
        });
        let credentials = credentials.unwrap_or_default();
        Ok(Some(Forwarded { connection, host: host.into(), credentials, is_begun: false }))
    }
}

/// A connection to a proxy for one request.
#[derive(Debug)]
pub struct Forwarded {
    connection: Box<dyn Transport>,
    /// Host and port of the address asked for.
    host: String,
    /// A header line, or nothing.
    credentials: String,
    is_begun: bool,
}

impl Forwarded {
    /// Turns the first of the output, `GET /path HTTP/1.1`, into a request to a proxy; gives its new length.
    fn address(&mut self, amount: usize) -> Result<usize, Error> {
        let output = self.connection.buffers().output();
        let text = str::from_utf8(&output[..amount]).map_err(|e| Error::Other(e.into()))?;
        let addressed = || -> Option<String> {
            let (line, headers) = text.split_once("\r\n")?;
            let (method, rest) = line.split_once(' ')?;
            let (host, credentials) = (&self.host, &self.credentials);
            Some(format!("{method} http://{host}{rest}\r\n{credentials}{headers}"))
        };
        let request = addressed()
            .filter(|request| request.len() <= output.len())
            .ok_or_else(|| Error::Other(anyhow!("a request that cannot be forwarded").into()))?;
        output[..request.len()].copy_from_slice(request.as_bytes());
        Ok(request.len())
    }
}

impl Transport for Forwarded {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.connection.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let amount = if self.is_begun { amount } else { self.address(amount)? };
        self.is_begun = true;
        self.connection.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.connection.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        // One request only: the next one may be for another host.
        false
    }
}
