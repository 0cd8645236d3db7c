//! The operator's backend at the gate: whom the policy grants leave is put to the hooks, and whom both let in is told of when
//! it goes.

use std::rc::Rc;

use config::OnError;

use crate::{
    hooks::{self, Action, Hooks, Options, Patience, Who},
    identity::VHOST,
    sessions::{
        Ending,
        access::{self, Ask, Denied, Gate, Grant, Hello},
    },
};

/// What the hooks need of the configuration.
pub fn options(config: &config::Hooks) -> Options {
    let on_error = match config.on_error {
        OnError::Allow => hooks::OnError::Allow,
        OnError::Deny => hooks::OnError::Deny,
    };
    let patience = Patience {
        retries: config.retries,
        pause: config.retry_pause.duration(),
        waiting_max: config.waiting_max as usize,
    };
    let mut options = Options::new(config.timeout.duration(), on_error, patience);
    options.concurrency = config.concurrency as usize;
    options.ca = (!config.ca.as_os_str().is_empty()).then(|| config.ca.clone());
    options
        .calling(Action::Connect, config.on_connect.iter())
        .calling(Action::Close, config.on_close.iter())
        .calling(Action::Publish, config.on_publish.iter())
        .calling(Action::Unpublish, config.on_unpublish.iter())
        .calling(Action::Play, config.on_play.iter())
        .calling(Action::Stop, config.on_stop.iter())
}

/// A gate behind `policy`: the backend is asked about those whom the policy lets in.
pub fn behind(policy: Gate, hooks: Hooks) -> Gate {
    let greeter = hooks.clone();
    let decide: access::Decide = Rc::new(move |ask| {
        let (policy, hooks) = (policy.clone(), hooks.clone());
        Box::pin(async move {
            let grant = policy.ask(ask.clone()).await?;
            consult(&hooks, &ask, grant).await
        })
    });
    Gate::new(decide).greeting(Rc::new(move |hello| {
        let hooks = greeter.clone();
        Box::pin(async move { greet(&hooks, &hello).await })
    }))
}

async fn consult(hooks: &Hooks, ask: &Ask, mut grant: Grant) -> Result<Grant, Denied> {
    let before = match ask.action {
        access::Action::Publish => Action::Publish,
        access::Action::Play => Action::Play,
    };
    // Who only looks neither plays nor stops.
    if ask.looks || !hooks.cares(before) {
        return Ok(grant);
    }
    let farewell = hooks.decide(before, who(hooks, ask)).await.map_err(denied)?;
    grant.held.push(Box::new(farewell));
    Ok(grant)
}

async fn greet(hooks: &Hooks, hello: &Hello) -> Result<Ending, Denied> {
    if !hooks.cares(Action::Connect) {
        return Ok(Ending::default());
    }
    let who = Who {
        client_id: hello.conn.to_string(),
        ip: hello.ip.to_string(),
        vhost: VHOST.to_owned(),
        app: hello.app.clone(),
        param: hello.param.clone(),
        tc_url: hello.tc_url.clone(),
        page_url: hello.page_url.clone(),
        ..Who::default()
    };
    let farewell = hooks.decide(Action::Connect, who).await.map_err(denied)?;
    Ok(Ending::new(move |traffic| drop(farewell.passed(traffic.sent, traffic.received))))
}

fn denied(refusal: hooks::Refusal) -> Denied {
    match refusal {
        hooks::Refusal::Rejected(_) => Denied::Forbidden(refusal.to_string()),
        hooks::Refusal::Unanswered(_) => Denied::Unavailable(refusal.to_string()),
    }
}

fn who(hooks: &Hooks, ask: &Ask) -> Who {
    Who {
        client_id: ask.conn.to_string(),
        ip: ask.ip.to_string(),
        vhost: VHOST.to_owned(),
        app: ask.key.app().to_owned(),
        stream: ask.key.name().to_owned(),
        param: ask.param.clone(),
        tc_url: ask.tc_url.clone(),
        page_url: ask.page_url.clone(),
        stream_url: format!("/{}", ask.key),
        stream_id: Some(hooks.identity().stream_id(&ask.key)),
        ..Who::default()
    }
}
