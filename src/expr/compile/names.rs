//! Which names a function binds, and which its nested functions mention.

use std::collections::HashSet;

use starlark_syntax::syntax::ast::{
    Argument, AssignTarget, AstAssignTarget, AstExpr, AstParameter, AstStmt, Expr, Parameter, Stmt,
};

/// Names that statements of a body bind, in order of appearance; nested functions bind their own.
pub fn bound(body: &AstStmt) -> Vec<String> {
    let mut names = Vec::new();
    bind_statement(body, &mut names);
    names
}

fn bind_statement(statement: &AstStmt, names: &mut Vec<String>) {
    match &statement.node {
        Stmt::Assign(assign) => bind_target(&assign.lhs, names),
        Stmt::AssignModify(target, _, _) => bind_target(target, names),
        Stmt::For(each) => {
            bind_target(&each.var, names);
            bind_statement(&each.body, names);
        }
        Stmt::Def(def) => names.push(def.name.ident.clone()),
        Stmt::If(..) | Stmt::IfElse(..) | Stmt::Statements(_) => {
            statement.visit_stmt(|inner| bind_statement(inner, names));
        }
        _ => {}
    }
}

pub fn bind_target(target: &AstAssignTarget, names: &mut Vec<String>) {
    match &target.node {
        AssignTarget::Identifier(name) => names.push(name.ident.clone()),
        AssignTarget::Tuple(targets) => targets.iter().for_each(|target| bind_target(target, names)),
        AssignTarget::Index(_) | AssignTarget::Dot(..) => {}
    }
}

/// Names mentioned inside nested functions: their variables may outlive a call, so they are shared with closures.
pub fn shared_in_statement(body: &AstStmt, shared: &mut HashSet<String>) {
    walk_statement(body, false, shared);
}

pub fn shared_in_expression(body: &AstExpr, shared: &mut HashSet<String>) {
    walk_expression(body, false, shared);
}

fn walk_statement(statement: &AstStmt, nested: bool, shared: &mut HashSet<String>) {
    if let Stmt::Def(def) = &statement.node {
        defaults(&def.params, nested, shared);
        walk_statement(&def.body, true, shared);
        return;
    }
    statement.visit_stmt(|inner| walk_statement(inner, nested, shared));
    own_expressions(statement, |expr| walk_expression(expr, nested, shared));
}

/// The expressions of a statement itself, not of statements within it.
fn own_expressions<'a>(statement: &'a AstStmt, mut each: impl FnMut(&'a AstExpr)) {
    match &statement.node {
        Stmt::Return(Some(expr)) | Stmt::Expression(expr) => each(expr),
        Stmt::Assign(assign) => {
            target_expressions(&assign.lhs, &mut each);
            each(&assign.rhs);
        }
        Stmt::AssignModify(target, _, expr) => {
            target_expressions(target, &mut each);
            each(expr);
        }
        Stmt::If(condition, _) | Stmt::IfElse(condition, _) => each(condition),
        Stmt::For(inner) => {
            target_expressions(&inner.var, &mut each);
            each(&inner.over);
        }
        _ => {}
    }
}

fn target_expressions<'a>(target: &'a AstAssignTarget, each: &mut impl FnMut(&'a AstExpr)) {
    match &target.node {
        AssignTarget::Tuple(targets) => targets.iter().for_each(|target| target_expressions(target, each)),
        AssignTarget::Index(pair) => {
            each(&pair.0);
            each(&pair.1);
        }
        AssignTarget::Dot(of, _) => each(of),
        AssignTarget::Identifier(_) => {}
    }
}

fn defaults(parameters: &[AstParameter], nested: bool, shared: &mut HashSet<String>) {
    for parameter in parameters {
        if let Parameter::Normal(_, _, Some(default)) = &parameter.node {
            walk_expression(default, nested, shared);
        }
    }
}

fn walk_expression(expr: &AstExpr, nested: bool, shared: &mut HashSet<String>) {
    match &expr.node {
        Expr::Identifier(name) if nested => {
            shared.insert(name.ident.clone());
        }
        Expr::Lambda(lambda) => {
            defaults(&lambda.params, nested, shared);
            walk_expression(&lambda.body, true, shared);
        }
        other => other.visit_expr(|inner| walk_expression(inner, nested, shared)),
    }
}

/// Names given to arguments, `a` of `struct(a = 1)`.
pub fn argument_names_in_statement(statement: &AstStmt, found: &mut HashSet<String>) {
    statement.visit_expr(|expr| argument_names(expr, found));
}

pub fn argument_names(expr: &AstExpr, found: &mut HashSet<String>) {
    if let Expr::Call(_, arguments) = &expr.node {
        for argument in &arguments.args {
            if let Argument::Named(name, _) = &argument.node {
                found.insert(name.node.clone());
            }
        }
    }
    expr.node.visit_expr(|inner| argument_names(inner, found));
}
