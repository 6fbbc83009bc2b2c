//! Where regions are on the globe: for the map, and for what time it is there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::scenario::Scenario;

const AWS_REGIONS: &str = include_str!("world-data/aws-regions.csv");

/// A `[[place]]` of a scenario: where a region is that AWS does not have, or where it has it elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub region: String,
    /// Degrees, north is positive.
    pub latitude: f64,
    /// Degrees, east is positive.
    pub longitude: f64,
}

/// A point of the globe, in tenths of a degree: whole numbers are the same on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub latitude_tenths: i64,
    pub longitude_tenths: i64,
}

impl Place {
    /// What the sun makes of a time: the minute of the day there when it is `utc_minute` at Greenwich. Four
    /// minutes for each degree; time zones are left out.
    pub fn minute_of_day(self, utc_minute: i64) -> i64 {
        (utc_minute + self.longitude_tenths * 4 / 10).rem_euclid(24 * 60)
    }
}

/// What a scenario says of places.
pub fn named(scenario: &Scenario) -> BTreeMap<String, Place> {
    let named = scenario.places.iter();
    let named = named.filter_map(|p| Some((p.region.clone(), at(p.latitude, p.longitude)?)));
    named.collect()
}

/// The places of these regions, as far as they are known, in their order.
pub fn of(named: &BTreeMap<String, Place>, regions: &[String]) -> Vec<Option<Place>> {
    let aws: BTreeMap<&str, Place> = AWS_REGIONS.lines().filter_map(row).collect();
    let place = |region: &String| {
        let said = named.get(region).or_else(|| aws.get(region.as_str()));
        said.copied()
    };
    regions.iter().map(place).collect()
}

/// The `[[place]]` tables: of regions that are there, and on the globe.
pub fn check(scenario: &Scenario) -> Result<(), (String, String)> {
    for (nth, named) in scenario.places.iter().enumerate() {
        let key = |field: &str| format!("place {}: {field}", nth + 1);
        let known = |all: &Vec<String>| all.contains(&named.region);
        if !scenario.regions.as_ref().is_some_and(known) {
            let reason = format!("'{}' is not among the regions", named.region);
            return Err((key("region"), reason));
        }
        if at(named.latitude, 0.0).is_none() {
            return Err((key("latitude"), "-90 to 90 degrees are possible".into()));
        }
        if at(0.0, named.longitude).is_none() {
            return Err((key("longitude"), "-180 to 180 degrees are possible".into()));
        }
    }
    Ok(())
}

fn row(line: &'static str) -> Option<(&'static str, Place)> {
    let mut fields = line.split(',');
    let (region, _) = (fields.next()?, fields.next()?);
    let (latitude, longitude) = (fields.next()?, fields.next()?);
    Some((region, at(latitude.parse().ok()?, longitude.parse().ok()?)?))
}

/// A point given in degrees, if it is on the globe.
fn at(latitude: f64, longitude: f64) -> Option<Place> {
    let on_globe = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
    // Within the range checked, so nothing is cut off but digits after the point.
    on_globe.then(|| Place {
        latitude_tenths: (latitude * 10.0).round() as i64,
        longitude_tenths: (longitude * 10.0).round() as i64,
    })
}

#[cfg(test)]
mod tests {
    use super::super::geography::Geography;
    use super::*;

    #[test]
    fn every_region_with_a_distance_has_a_place() {
        let names = Geography::aws().names();
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let places = of(&BTreeMap::new(), &names);
        assert_eq!(places.iter().flatten().count(), 33);
        let sydney = names.iter().position(|n| n == "ap-southeast-2").unwrap();
        assert_eq!(places[sydney].unwrap().longitude_tenths, 1_512);
    }

    #[test]
    fn the_sun_is_ahead_in_the_east() {
        let (tokyo, oregon) = (at(35.7, 139.7).unwrap(), at(45.8, -119.7).unwrap());
        assert_eq!(tokyo.minute_of_day(0), 558);
        assert_eq!(oregon.minute_of_day(0), 24 * 60 - 478);
        assert_eq!(at(91.0, 0.0), None);
        assert_eq!(at(f64::NAN, 0.0), None);
    }
}
