//! The three rounds: what others refer to by GUID, what lies in orgs and spaces, what binds them.

use std::sync::{Mutex, PoisonError};

use super::Reading;
use crate::cloud::Error;
use crate::cloud::types::{
    App, Binding, Broker, Buildpack, Domain, Droplet, Flag, Offering, Organization, Package,
    Process, Quota, Role, Route, SecurityGroup, Segment, ServiceInstance, ServicePlan, Space,
    Stack, ToMany, User, Visibility,
};
use crate::inventory::Item;
use crate::operation::inventory::rows;
use crate::operation::inventory::tables::AppRow;

impl Reading<'_> {
    /// What others refer to by GUID. Orgs and spaces name their quotas, so they are made when all
    /// is there.
    pub(super) fn names(&self) {
        let (orgs, spaces) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let (domains, quotas) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let (brokers, offerings) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let (plans, segments) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        Self::together(vec![
            Box::new(|| {
                self.list("apps", |app: App| {
                    if let Some((guid, row)) = AppRow::of(app) {
                        self.know(|tables| drop(tables.apps.insert(guid, row)));
                    }
                });
            }),
            Box::new(|| {
                self.list("spaces", |space: Space| {
                    let org = space
                        .relationships
                        .organization
                        .guid()
                        .unwrap_or_default()
                        .into();
                    let known = (space.name.as_str().into(), org);
                    self.know(|tables| {
                        drop(tables.spaces.insert(space.guid.as_str().into(), known));
                    });
                    push(&spaces, space);
                });
            }),
            Box::new(|| {
                self.list("users", |user: User| {
                    let name = match user.username.as_str() {
                        "" => user.presentation_name,
                        name => name.to_owned(),
                    };
                    let known = (name.into(), user.origin.into());
                    self.know(|tables| drop(tables.users.insert(user.guid.into(), known)));
                });
            }),
            Box::new(|| {
                self.list("organizations", |org: Organization| {
                    let name = org.name.as_str().into();
                    self.know(|tables| drop(tables.orgs.insert(org.guid.as_str().into(), name)));
                    push(&orgs, org);
                });
            }),
            Box::new(|| self.list("domains", |domain: Domain| push(&domains, domain))),
            Box::new(|| {
                self.list("organization_quotas", |quota: Quota| {
                    let name = quota.name.as_str().into();
                    self.know(|tables| {
                        drop(tables.org_quotas.insert(quota.guid.as_str().into(), name));
                    });
                    self.push(&rows::org_quota(quota));
                });
            }),
            Box::new(|| {
                self.list("space_quotas", |quota: Quota| {
                    let name = quota.name.as_str().into();
                    self.know(|tables| {
                        drop(tables.space_quotas.insert(quota.guid.as_str().into(), name));
                    });
                    push(&quotas, quota);
                });
            }),
            Box::new(|| {
                self.list("service_brokers", |broker: Broker| {
                    let name = broker.name.as_str().into();
                    self.know(|tables| {
                        drop(tables.brokers.insert(broker.guid.as_str().into(), name));
                    });
                    push(&brokers, broker);
                });
            }),
            Box::new(|| {
                self.list("service_offerings", |offering: Offering| {
                    let broker = offering
                        .relationships
                        .service_broker
                        .guid()
                        .unwrap_or_default();
                    let known = (offering.name.as_str().into(), broker.into());
                    self.know(|tables| {
                        drop(
                            tables
                                .offerings
                                .insert(offering.guid.as_str().into(), known),
                        );
                    });
                    push(&offerings, offering);
                });
            }),
            Box::new(|| {
                self.plans(|plan, orgs| {
                    let offering = plan
                        .relationships
                        .service_offering
                        .guid()
                        .unwrap_or_default();
                    let known = (plan.name.as_str().into(), offering.into());
                    self.know(|tables| drop(tables.plans.insert(plan.guid.as_str().into(), known)));
                    push(&plans, (plan, orgs));
                });
            }),
            Box::new(|| self.segments(|segment| push(&segments, segment))),
            Box::new(|| {
                self.list("buildpacks", |pack: Buildpack| {
                    self.push(&rows::buildpack(pack));
                });
            }),
            Box::new(|| {
                self.list("stacks", |stack: Stack| {
                    self.push(&Item::new("stack", &[&stack.name]).guid(&stack.guid));
                });
            }),
            Box::new(|| {
                self.list("feature_flags", |flag: Flag| {
                    self.push(
                        &Item::new("feature-flag", &[&flag.name]).with("enabled", flag.enabled),
                    );
                });
            }),
            Box::new(|| {
                self.ask("router_groups", || {
                    for group in self.api.router_groups(self.wait)? {
                        let name = group.name.as_str().into();
                        self.know(|tables| {
                            drop(
                                tables
                                    .router_groups
                                    .insert(group.guid.as_str().into(), name),
                            );
                        });
                        self.push(&rows::router_group(group));
                    }
                    Ok(())
                });
            }),
        ]);
        for org in taken(orgs) {
            self.make(|tables| Some(rows::org(tables, org)));
        }
        for space in taken(spaces) {
            self.make(|tables| rows::space(tables, space));
        }
        for domain in taken(domains) {
            self.make(|tables| Some(rows::domain(tables, domain)));
        }
        for quota in taken(quotas) {
            self.make(|tables| rows::space_quota(tables, quota));
        }
        for broker in taken(brokers) {
            self.make(|tables| Some(rows::broker(tables, &broker)));
        }
        for offering in taken(offerings) {
            self.make(|tables| rows::offering(tables, &offering));
        }
        for (plan, orgs) in taken(plans) {
            self.make(|tables| rows::plan(tables, &plan, orgs));
        }
        for (segment, orgs, spaces) in taken(segments) {
            self.make(|tables| Some(rows::segment(tables, &segment, &orgs, &spaces)));
        }
    }

    /// Plans with the names of the orgs that see them.
    fn plans(&self, mut each: impl FnMut(ServicePlan, Vec<String>)) {
        let mut plans = Vec::new();
        self.list("service_plans", |plan: ServicePlan| plans.push(plan));
        for plan in plans {
            let mut orgs = Vec::new();
            if plan.visibility_type == "organization" {
                let path = format!("service_plans/{}/visibility", plan.guid);
                self.ask("service_plans", || {
                    let what = "who sees a service plan";
                    let seen = self.api.one::<Visibility>(&path, what, self.wait);
                    orgs = gone(seen)?
                        .organizations
                        .into_iter()
                        .map(|org| org.name)
                        .collect();
                    Ok(())
                });
            }
            each(plan, orgs);
        }
    }

    /// Segments with the orgs that may use them and the spaces that do.
    fn segments(&self, mut each: impl FnMut((Segment, ToMany, ToMany))) {
        let mut segments = Vec::new();
        self.list("isolation_segments", |segment: Segment| {
            segments.push(segment);
        });
        for segment in segments {
            let (mut orgs, mut spaces) = (ToMany::default(), ToMany::default());
            self.ask("isolation_segments", || {
                let path =
                    |of: &str| format!("isolation_segments/{}/relationships/{of}", segment.guid);
                let what = "who uses an isolation segment";
                orgs = gone(self.api.one(&path("organizations"), what, self.wait))?;
                spaces = gone(self.api.one(&path("spaces"), what, self.wait))?;
                Ok(())
            });
            each((segment, orgs, spaces));
        }
    }

    /// What lies in orgs and spaces.
    pub(super) fn things(&self) {
        Self::together(vec![
            Box::new(|| {
                self.list("roles", |role: Role| {
                    self.make(|tables| rows::role(tables, &role));
                });
            }),
            Box::new(|| {
                self.list("droplets", |droplet: Droplet| {
                    self.know(|tables| {
                        if let Some(app) = droplet.app().and_then(|app| tables.apps.get_mut(app)) {
                            app.droplet(&droplet);
                        }
                    });
                });
            }),
            Box::new(|| {
                self.list("routes", |route: Route| {
                    let space = route.relationships.space.guid().unwrap_or_default();
                    let known = (route.url.as_str().into(), space.into());
                    self.know(|tables| {
                        drop(tables.routes.insert(route.guid.as_str().into(), known));
                    });
                    self.make(|tables| rows::route(tables, route));
                });
            }),
            Box::new(|| {
                self.list("processes", |process: Process| {
                    self.know(|tables| {
                        let app = process.relationships.app.guid().map(str::to_owned);
                        if let Some(app) = app.and_then(|app| tables.apps.get_mut(app.as_str())) {
                            app.process(process);
                        }
                    });
                });
            }),
            Box::new(|| {
                self.list("service_instances", |instance: ServiceInstance| {
                    let space = instance.relationships.space.guid().unwrap_or_default();
                    let known = (instance.name.as_str().into(), space.into());
                    self.know(|tables| {
                        drop(
                            tables
                                .instances
                                .insert(instance.guid.as_str().into(), known),
                        );
                    });
                    self.make(|tables| rows::instance(tables, instance));
                });
            }),
            Box::new(|| {
                self.list("security_groups", |group: SecurityGroup| {
                    self.make(|tables| Some(rows::security_group(tables, &group)));
                });
            }),
            Box::new(|| {
                self.ask("network_policies", || {
                    for policy in self.api.network_policies(self.wait)? {
                        self.make(|tables| rows::network_policy(tables, &policy));
                    }
                    Ok(())
                });
            }),
        ]);
    }

    /// What binds them, and what apps were made from.
    pub(super) fn bindings(&self) {
        Self::together(vec![
            Box::new(|| {
                self.list("packages", |package: Package| {
                    self.know(|tables| {
                        let app = package.relationships.app.guid();
                        if let Some(app) = app.and_then(|app| tables.apps.get_mut(app)) {
                            app.package(&package);
                        }
                    });
                });
            }),
            Box::new(|| {
                self.list("service_credential_bindings", |binding: Binding| {
                    self.make(|tables| rows::binding(tables, &binding));
                });
            }),
            Box::new(|| {
                self.list("service_route_bindings", |binding: Binding| {
                    self.make(|tables| rows::route_binding(tables, &binding));
                });
            }),
        ]);
    }

    /// Apps, now that all is known of them; what they took is given back on the way.
    pub(super) fn apps(&self) {
        let apps = {
            let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut tables.apps)
        };
        for (guid, app) in apps {
            self.make(|tables| {
                let (org, space) = tables.place(Some(&app.space))?;
                let mut item = Item::new("app", &[org, space, &app.name])
                    .guid(&guid)
                    .within(Some(org), Some(space));
                item.fields = app.fields();
                Some(item)
            });
        }
    }
}

/// What was deleted since its list counts as empty.
fn gone<T: Default>(told: Result<T, Error>) -> Result<T, Error> {
    match told {
        Err(Error::NotThere { .. }) => Ok(T::default()),
        told => told,
    }
}

fn push<T>(list: &Mutex<Vec<T>>, one: T) {
    list.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(one);
}

fn taken<T>(list: Mutex<Vec<T>>) -> Vec<T> {
    list.into_inner().unwrap_or_else(PoisonError::into_inner)
}
